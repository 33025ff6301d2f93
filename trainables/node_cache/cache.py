"""A folder on a node's own disk for what can be fetched again: made once for all processes there, up to a limit.

`<folder>/<name>/` is an entry, complete and never changed (`entry`). Everything is guarded by `flock` (`locks`), so
the folder must lie on a local disk.

- An entry's own folder is locked, shared, by whoever maps its files. Evicting takes it alone: what is mapped stays.
- `.<name>.<random>` is an entry being made, locked by its maker; who else wants the entry waits for that lock. One
  that nobody has locked was left by a process that was killed, and is removed.
- `.lock` is held for the moments in which room is given and names change.

The entry used longest ago is evicted first, by the time of a file: where the clock jumps, an entry may go before
its turn and is fetched again. Users that share the folder trust each other: who may write to it may put data there.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trainables import disk
from trainables.node_cache import entry, limits
from trainables.node_cache.locks import CacheError, Claim, Lease, access, held, hold, locked

_LOCK, _RESERVED = ".lock", ".reserved"


class CacheLimitError(CacheError):
    """The limit that was set for the cache is below what one entry needs."""

    exit_code = 2


@dataclass(frozen=True)
class Recipe:
    """How an entry is made: `write` fills an empty folder with about `size` bytes; `what` names it in messages."""

    what: str
    size: int
    write: Callable[[Path], None]


class Use(NamedTuple):
    """Bytes of a cache: those of its entries, those that it may hold, and those of its disk, free and in all."""

    held: int
    limit: int
    free: int
    disk: int


@dataclass(frozen=True)
class NodeCache:
    """The entries below `folder`. `limit` in GB; None: the environment's, else the default of `limit_of`."""

    folder: Path
    limit: float | None = None

    def lease(self, name: str, recipe: Callable[[], Recipe]) -> Lease:
        """The entry, made first where it is not there or damaged; of processes that ask at once one makes it.

        Raises CacheError where this node has no room for it, MachineError where its disk is full nevertheless.
        """
        while True:
            found = hold(self.folder / name)
            if found is not None:
                return found
            with self._claimed(name) as claim:
                found = None if claim is None else self._mended(name) or self._made(name, claim, recipe())
            if found is not None:
                return found

    def use(self) -> Use:
        """How full it is now, while others may be writing to it."""
        held, (free, total) = sum(self._entries().values()), disk.free_and_total(self.folder)
        return Use(held, limits.limit_of(self._given(), held, free, total), free, total)

    def _mended(self, name: str) -> Lease | None:
        """An entry that was written to, or that lay there when the machine started, if it is whole nevertheless."""
        folder = self.folder / name
        lease = held(folder)
        if lease is None or entry.trusted(folder):
            return lease
        if entry.whole(folder):
            with suppress(OSError):  # another user's: every process reads it in full, which is right, if slow
                entry.stamp(folder)
            return lease
        lease.close()
        return None

    def _made(self, name: str, claim: Claim, recipe: Recipe) -> Lease | None:
        """None where another user, whose claim this one could not see, was quicker."""
        target = self.folder / name
        with self._alone():
            self._set_aside(target)
            if target.exists():
                raise CacheError(f"{target}: damaged, and another user's; have it removed, and run again")
            self._make_room(claim, recipe)
        with disk.writing(self.folder, recipe.what):
            recipe.write(claim.folder)
            (claim.folder / _RESERVED).unlink()
            entry.seal(claim.folder, self._mode)
        with self._alone():
            try:
                lease = claim.shared(target)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    return None
                raise
            self._shrink()
        return lease

    @contextmanager
    def _claimed(self, name: str) -> Iterator[Claim | None]:
        """An empty folder for the entry, of this process alone; None once whoever was making it has ended."""
        with self._alone(), disk.writing(self.folder, "a new entry"):
            other = self._maker(name)
            begun = None if other else Claim.begin(self._beside(name), self._mode)
        if begun is None:
            assert other is not None
            with other:
                other.wait()
            yield None
            return
        with begun:
            try:
                yield begun
            finally:
                shutil.rmtree(begun.folder, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For moments only. The folder is made where it is absent, open to those that its parent is open to."""
        with access(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                self.folder.mkdir()
                self.folder.chmod(0o700 | stat.S_IMODE(self.folder.parent.stat().st_mode) & 0o3777)
        with locked(self.folder / _LOCK, self._mode):
            yield

    @property
    def _mode(self) -> int:
        return stat.S_IMODE(self.folder.stat().st_mode)

    def _beside(self, name: str) -> Path:
        return self.folder / f".{name}.{uuid.uuid4().hex[:8]}"

    def _maker(self, name: str) -> Claim | None:
        """Who makes the entry; removes on the way whatever killed processes left of any entry. Called alone."""
        found = None
        for folder in self._beginnings():
            claim = Claim.of(folder)
            if claim is None:
                continue
            if claim.alone():
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.name.startswith(f".{name}.") and found is None:
                found = claim
                continue
            claim.close()
        return found

    def _beginnings(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob(".*.*")) if path.is_dir() and not path.is_symlink()]

    def _entries(self) -> dict[Path, int]:
        """Bytes of each, used longest ago first. What has no manifest is none of ours: not counted, not removed."""
        found = [p.parent for p in self.folder.glob(f"*/{entry.MANIFEST}") if not p.parent.name.startswith(".")]
        return {folder: entry.size(folder) for folder in sorted(found, key=entry.last_use)}

    def _make_room(self, claim: Claim, recipe: Recipe) -> None:
        """Evict until the entry fits the limit and the disk, then reserve its size. Called alone."""
        entries, need = self._entries(), recipe.size
        promised = [_promised(folder) for folder in self._beginnings()]
        used = sum(entries.values()) + sum(map(max, promised))
        free, total = disk.free_and_total(self.folder)
        free -= sum(max(0, reserved - written) for reserved, written in promised)
        limit = limits.limit_of(self._given(), used, free, total)
        if need > limit:
            raise CacheLimitError(
                f"{recipe.what} needs {disk.told(need)} in the cache {self.folder}, which may hold "
                f"{disk.told(limit)}; set {limits.LIMIT} (GB) higher, or ORCH_CACHE to a folder on a larger disk"
            )
        for folder, size in entries.items():
            if used + need <= limit and need <= free:
                break
            if self._evict(folder):
                used, free = used - size, free + size
        if used + need > limit or need > free:
            raise CacheError(
                f"{recipe.what} needs {disk.told(need)} in the cache {self.folder}, and "
                f"{disk.told(max(0, min(limit - used, free)))} are left beside the {disk.told(used)} in use there; "
                f"free some of the disk, set {limits.LIMIT} (GB) higher, or ORCH_CACHE to a folder on a larger disk"
            )
        with disk.writing(self.folder, recipe.what):
            (claim.folder / _RESERVED).write_text(str(need), "utf-8")

    def _shrink(self) -> None:
        """Evict what is over the limit because an entry came out larger than was reckoned. Called alone."""
        entries = self._entries()
        used = sum(entries.values())
        limit = limits.limit_of(self._given(), used, *disk.free_and_total(self.folder))
        for folder, size in entries.items():
            if used > limit and self._evict(folder):
                used -= size

    def _given(self) -> float | None:
        return self.limit if self.limit is not None else limits.limit_from_environment()

    def _evict(self, folder: Path) -> bool:
        """Whether it could be: not while a process maps it, nor another user's."""
        claim = Claim.of(folder)
        if claim is None:
            return False
        with claim:
            if not os.access(folder, os.W_OK):  # it could be renamed, and its files would stay
                return False
            return claim.alone() and self._set_aside(folder)

    def _set_aside(self, folder: Path) -> bool:
        """Remove what lies under the name of an entry; processes that map it keep what they have mapped."""
        aside = self._beside(folder.name)
        try:
            folder.rename(aside)  # first, so that nobody finds half of it
        except OSError:
            return False
        shutil.rmtree(aside, ignore_errors=True)
        return not aside.exists()


def _promised(folder: Path) -> tuple[int, int]:
    """Bytes that the maker reserved, and those that it has written."""
    try:
        reserved = int((folder / _RESERVED).read_text("utf-8"))
    except (OSError, ValueError):
        reserved = 0
    return reserved, entry.size(folder)
