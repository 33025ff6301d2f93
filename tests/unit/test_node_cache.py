"""A node's cache: made once, never evicted while held, within its limit, whole after any kill."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.helpers.cache_process import asking, content_of, recipe, said
from trainables.errors import MachineError, UserError
from trainables.node_cache import LIMIT, CacheError, CacheLimitError, Lease, NodeCache, Recipe
from trainables.node_cache import limit_from_environment as from_environment
from trainables.node_cache.entry import MANIFEST, STAMP
from trainables.node_cache.limits import limit_of

SIZE = 20_000
KB = 1e-6
"""In GB, as limits are given."""
GB = 10**9


def ask(cache: NodeCache, name: str, size: int = SIZE) -> Lease:
    return cache.lease(name, lambda: recipe(name, size, made_of(cache)))


def made_of(cache: NodeCache) -> Path:
    return cache.folder.parent / "made"


def made(cache: NodeCache) -> list[str]:
    """What was made, in order."""
    return made_of(cache).read_text().split() if made_of(cache).exists() else []


def used(cache: NodeCache, name: str) -> None:
    ask(cache, name).close()


def entries(cache: NodeCache) -> list[str]:
    """All that lies in the folder but its lock."""
    return sorted(path.name for path in cache.folder.iterdir() if path.name != ".lock")


def aged(cache: NodeCache, name: str, seconds: float) -> None:
    """As if it had been used that long ago."""
    then = time.time() - seconds
    os.utime(cache.folder / name / STAMP, (then, then))


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache(tmp_path / "cache", 1.0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    ("given", "used_", "free", "limit"),
    [
        (None, 0, 800 * GB, 100 * GB),  # the default
        (None, 0, 80 * GB, 30 * GB),  # 5 % of 1000 GB stay free
        (None, 20 * GB, 60 * GB, 30 * GB),  # what it holds already is its own
        (None, 1 * GB, 20 * GB, 6 * GB),  # others have filled the disk: 5 GB are there for a small one
        (None, 0, 2 * GB, 1 * GB),  # but not the last
        (2.5, 0, 20 * GB, 2_500_000_000),  # what is given holds
        (500.0, 0, 800 * GB, 500 * GB),
    ],
)
def test_the_limit(given: float | None, used_: int, free: int, limit: int) -> None:
    assert limit_of(given, used_, free, 1000 * GB) == limit


def test_the_limit_of_a_node_is_in_its_environment(cache: NodeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    assert from_environment() is None
    monkeypatch.setenv(LIMIT, str(10 * KB))
    assert from_environment() == pytest.approx(10 * KB)
    with pytest.raises(CacheLimitError):
        ask(NodeCache(cache.folder), "a")
    for wrong in ("lots", "-1", "0", "nan", "inf"):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(UserError, match=f"{LIMIT} = '{wrong}': not a size; give the GB"):
            from_environment()


def test_an_entry_is_made_once(cache: NodeCache) -> None:
    for _ in range(3):
        with ask(cache, "a") as lease:
            assert lease.folder == cache.folder / "a"
            assert (lease.folder / "data").read_bytes() == content_of("a", SIZE)
    assert made(cache) == ["a"] and entries(cache) == ["a"]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_lease_closes_nobody_elses_file(
    cache: NodeCache, copied: Callable[[dict[str, Lease]], dict[str, Lease]]
) -> None:
    lease = ask(cache, "a")
    other, number = copied({"of": lease}), lease.handle
    lease.close()
    with (cache.folder.parent / "else").open("w") as file:
        os.dup2(file.fileno(), number)
    del other
    gc.collect()
    os.close(number)  # it is open still, as another file


def test_a_lease_is_sent_to_no_other_process(cache: NodeCache) -> None:
    with pytest.raises(TypeError, match="in its own process alone"), ask(cache, "a") as lease:
        pickle.dumps(lease)


@pytest.mark.parametrize("processes", [1, 4])
def test_of_processes_that_ask_at_once_one_makes_it(cache: NodeCache, processes: int) -> None:
    with ExitStack() as stack:
        asked = [stack.enter_context(asking(cache.folder, "a", SIZE, made_of(cache))) for _ in range(processes)]
        assert [said(process) for process in asked] == ["held"] * processes
    assert made(cache) == ["a"] and entries(cache) == ["a"]


def test_a_maker_that_is_killed_leaves_nothing_and_who_waits_takes_over(cache: NodeCache) -> None:
    with asking(cache.folder, "a", SIZE, made_of(cache), hangs=True) as maker:
        assert said(maker) == "writing"
        with asking(cache.folder, "a", SIZE, made_of(cache)) as waiting:
            used(cache, "b")  # another entry waits for nobody
            assert made(cache) == ["a", "b"] and waiting.poll() is None
            maker.kill()
            assert said(waiting) == "held"
    assert made(cache) == ["a", "b", "a"] and entries(cache) == ["a", "b"]


def test_what_killed_processes_left_of_any_entry_is_removed(cache: NodeCache) -> None:
    with ExitStack() as stack:
        makers = [
            stack.enter_context(asking(cache.folder, name, SIZE, made_of(cache), hangs=True)) for name in ("a", "b")
        ]
        assert [said(maker) for maker in makers] == ["writing"] * 2
    assert len(entries(cache)) == 2 and all(name.startswith(".") for name in entries(cache))
    used(cache, "c")
    assert entries(cache) == ["c"]


def test_what_fails_while_it_is_made_leaves_nothing_and_may_be_asked_for_again(cache: NodeCache) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        cache.lease("a", lambda: Recipe("set a", 10, fail))
    assert entries(cache) == []
    used(cache, "a")
    assert entries(cache) == ["a"]


def test_the_one_used_longest_ago_goes_first(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 75 * KB)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        used(cache, name)
        aged(cache, name, age)
    used(cache, "a")  # the oldest, but in use again
    used(cache, "d")
    assert entries(cache) == ["a", "c", "d"]
    used(cache, "e")
    assert entries(cache) == ["a", "d", "e"]
    used(cache, "b")
    assert made(cache) == [*"abcdeb"]


def test_a_large_one_takes_the_place_of_several(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 75 * KB)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        used(cache, name)
        aged(cache, name, age)
    ask(cache, "d", 2 * SIZE).close()
    assert entries(cache) == ["c", "d"]


def test_a_clock_that_was_ahead_keeps_nothing_for_ever(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 50 * KB)
    used(cache, "a")
    aged(cache, "a", -1e6)
    time.sleep(0.01)
    used(cache, "b")
    aged(cache, "b", -1e6)
    used(cache, "c")
    assert "c" in entries(cache) and len(entries(cache)) == 2


def test_what_another_process_holds_is_not_evicted(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 50 * KB)
    with asking(cache.folder, "a", SIZE, made_of(cache), cache.limit or 0.0) as reader:
        assert said(reader) == "held"
        aged(cache, "a", 1000)
        used(cache, "b")
        used(cache, "c")
        assert entries(cache) == ["a", "c"]
    used(cache, "d")
    assert entries(cache) == ["c", "d"]


def test_without_room_beside_what_is_held_the_machine_is_told_to_have_none(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 50 * KB)
    with ask(cache, "a"), ask(cache, "b"):
        with pytest.raises(CacheError, match=r"set c needs 20\.0 kB in the cache .* beside the 40\.\d kB in use"):
            ask(cache, "c")
        assert entries(cache) == ["a", "b"]
    used(cache, "c")


def test_a_limit_below_one_entry_is_one_sentence_of_the_users(cache: NodeCache) -> None:
    with pytest.raises(CacheLimitError) as caught:
        ask(NodeCache(cache.folder, 10 * KB), "a")
    assert caught.value.exit_code == 2 and isinstance(caught.value, MachineError)
    assert str(caught.value) == (
        f"set a needs 20.0 kB in the cache {cache.folder}, which may hold 10.0 kB; set ORCH_CACHE_LIMIT (GB) "
        "higher, or ORCH_CACHE to a folder on a larger disk"
    )
    assert entries(cache) == [] and made(cache) == []


def test_room_that_another_maker_was_promised_is_taken(cache: NodeCache) -> None:
    with asking(cache.folder, "a", 60_000, made_of(cache), 100 * KB, hangs=True) as maker:
        assert said(maker) == "writing"
        with pytest.raises(CacheError, match=r"set b needs 60\.0 kB .* 40\.0 kB are left beside the 60\.0 kB"):
            ask(NodeCache(cache.folder, 100 * KB), "b", 60_000)
        ask(NodeCache(cache.folder, 100 * KB), "c", 30_000).close()
    assert made(cache) == ["a", "c"]


def test_what_came_out_larger_than_reckoned_makes_room_afterwards(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 50 * KB)
    used(cache, "a")
    larger = recipe("b", 2 * SIZE, made_of(cache))
    cache.lease("b", lambda: Recipe(larger.what, SIZE, larger.write)).close()
    assert entries(cache) == ["b"]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped byte": lambda folder: flip(folder / "data"),
    "a truncated file": lambda folder: os.truncate(folder / "data", SIZE // 2),
    "a missing file": lambda folder: (folder / "data").unlink(),
    "a file too many": lambda folder: (folder / "more").write_bytes(b"x"),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "half a manifest": lambda folder: os.truncate(folder / MANIFEST, 20),
    "another manifest": lambda folder: flip(folder / MANIFEST),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_never_read_and_made_again(cache: NodeCache, damage: str) -> None:
    used(cache, "a")
    DAMAGE[damage](cache.folder / "a")
    with ask(cache, "a") as lease:
        assert (lease.folder / "data").read_bytes() == content_of("a", SIZE)
    assert made(cache) == ["a", "a"] and entries(cache) == ["a"]


def test_what_a_crash_of_the_machine_lost_is_found_by_the_next_boot(cache: NodeCache) -> None:
    """A file that kept its size and time, but not its content."""
    used(cache, "a")
    data, stamp = cache.folder / "a" / "data", cache.folder / "a" / STAMP
    facts = data.stat()
    flip(data)
    os.utime(data, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    stamp.write_text(stamp.read_text().replace('"boot": "', '"boot": "an earlier '))
    used(cache, "a")
    assert made(cache) == ["a", "a"]
    stamp.write_text(stamp.read_text().replace('"boot": "', '"boot": "an earlier '))
    used(cache, "a")  # whole: kept, and trusted again
    assert made(cache) == ["a", "a"] and "an earlier" not in stamp.read_text()


def test_a_file_that_was_only_touched_is_kept(cache: NodeCache) -> None:
    used(cache, "a")
    (cache.folder / "a" / "data").touch()
    used(cache, "a")
    assert made(cache) == ["a"]


def test_who_maps_a_damaged_entry_keeps_what_is_mapped(cache: NodeCache) -> None:
    import numpy as np

    with ask(cache, "a") as lease:
        mapped = np.memmap(lease.folder / "data", mode="r")
        (lease.folder / "more").write_bytes(b"x")
        used(cache, "a")
        assert made(cache) == ["a", "a"] and bytes(mapped) == content_of("a", SIZE)


def test_what_is_none_of_its_own_is_left_alone(cache: NodeCache) -> None:
    cache = NodeCache(cache.folder, 50 * KB)
    (cache.folder / "photos").mkdir(parents=True)
    (cache.folder / "photos" / "cat").write_bytes(bytes(200_000))
    for name in ("a", "b", "c"):
        used(cache, name)
    assert "photos" in entries(cache) and len(entries(cache)) == 3


def test_a_full_disk_is_seen_before_anything_is_written(small_disk: Path) -> None:
    cache = NodeCache(small_disk / "cache", 1.0)
    with ask(cache, "a", 150_000), pytest.raises(CacheError, match=r"set b needs 300\.0 kB in the cache"):
        ask(cache, "b", 300_000)
    ask(cache, "b", 300_000).close()  # now `a` may go
    assert entries(cache) == ["b"]


def test_a_disk_that_fills_up_on_the_way_is_the_machines_fault(small_disk: Path) -> None:
    cache = NodeCache(small_disk / "cache", 1.0)

    def write(folder: Path) -> None:
        (folder / "data").write_bytes(bytes(100_000))
        (small_disk / "of others").write_bytes(bytes(250_000))
        (folder / "more").write_bytes(bytes(100_000))

    with pytest.raises(MachineError, match=r"the disk is full \(No space left on device\) and set a does not fit"):
        cache.lease("a", lambda: Recipe("set a", 200_000, write))
    assert entries(cache) == []
    (small_disk / "of others").unlink()
    ask(cache, "a", 200_000).close()
    assert entries(cache) == ["a"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that other users reach, which those of pytest are not."""
    if os.geteuid():
        pytest.skip("only root can be other users")
    with TemporaryDirectory(prefix="orch-shared-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if any(parent.stat().st_mode & 0o005 != 0o005 for parent in folder.parents):
            pytest.skip(f"other users do not reach {folder}")
        (folder / "made").touch()
        (folder / "made").chmod(0o666)
        yield folder


ONE, OTHER, GROUP = 40_001, 40_002, 40_003


def test_another_user_reads_what_is_there_and_is_told_what_cannot_be_made(shared: Path) -> None:
    folder = shared / "one's"
    folder.mkdir(mode=0o755)
    os.chown(folder, ONE, ONE)
    with asking(folder / "cache", "a", SIZE, shared / "made", user=ONE) as one:
        assert said(one) == "held"
    with asking(folder / "cache", "a", SIZE, shared / "made", user=OTHER) as other:
        assert said(other) == "held"
    with asking(folder / "cache", "b", SIZE, shared / "made", user=OTHER) as other:
        told = said(other)
    assert told.startswith("CacheError: ") and "is another user's (Permission denied); set ORCH_CACHE" in told
    assert (shared / "made").read_text().split() == ["a"]


def test_users_that_share_a_folder_share_entries_and_evict_their_own(shared: Path) -> None:
    folder = shared / "everyone's"
    folder.mkdir()
    folder.chmod(0o1777)
    limit = 50 * KB
    for user, name in ((ONE, "a"), (OTHER, "b"), (OTHER, "a"), (OTHER, "c")):
        with asking(folder / "cache", name, SIZE, shared / "made", limit, user=user) as process:
            assert said(process) == "held", name
    # `a`, the oldest, is not OTHER's to remove: `b` went in its place.
    assert (shared / "made").read_text().split() == ["a", "b", "c"]
    assert entries(NodeCache(folder / "cache")) == ["a", "c"]


def test_a_group_that_may_write_evicts_each_others(shared: Path) -> None:
    folder = shared / "group's"
    folder.mkdir()
    os.chown(folder, ONE, GROUP)
    folder.chmod(0o2775)
    limit = 50 * KB
    for user, name in ((ONE, "a"), (OTHER, "b"), (OTHER, "c")):
        with asking(folder / "cache", name, SIZE, shared / "made", limit, user=user, group=GROUP) as process:
            assert said(process) == "held", name
    assert entries(NodeCache(folder / "cache")) == ["b", "c"]
