"""A node's cache whose processes are killed at any moment: while they make, evict, wait, check or hold."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

from tests.helpers.cache_process import asking, content_of, recipe, said
from trainables.node_cache import NodeCache
from trainables.node_cache.entry import size, whole

ROUNDS, SIDE_BY_SIDE, SIZE = 25, 4, 3_000_000
LIMIT = 2.5 * SIZE / 10**9
"""Two entries fit, a third drives one out."""


def test_after_any_kills_all_that_is_seen_is_whole_and_nothing_stays_locked(tmp_path: Path) -> None:
    folder, made, random_ = tmp_path / "cache", tmp_path / "made", random.Random(7)
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            names = [random_.choice("abcd") for _ in range(SIDE_BY_SIDE)]
            running = [stack.enter_context(asking(folder, name, SIZE, made, LIMIT)) for name in names]
            first = random_.choice(running)
            said(first)
            time.sleep(random_.uniform(0.0, 0.05))
            for process in random_.sample(running, len(running)):
                process.kill()
        visible = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        assert all(whole(path) and (path / "data").stat().st_size == SIZE for path in visible)
    cache = NodeCache(folder, LIMIT)
    for name in "abcd":
        with cache.lease(name, lambda name=name: recipe(name, SIZE, made)) as lease:  # type: ignore[misc]
            assert (lease.folder / "data").read_bytes() == content_of(name, SIZE)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "c", "d"]
    assert size(folder) < LIMIT * 10**9
    assert len(made.read_text().split()) > 4
