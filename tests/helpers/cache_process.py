"""A process of its own that asks a node's cache for an entry of made-up bytes, and does as it is told.

It says `writing` once it makes the entry (and hangs there if told to), `held` once it has it, and lets go when its
input ends. What it made is noted in a file, a line each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import OrchError
from trainables.node_cache import NodeCache, Recipe


def recipe(name: str, size: int, made: Path, *, hangs: bool = False) -> Recipe:
    """One file of `size` bytes, the same for a name each time."""

    def write(folder: Path) -> None:
        with made.open("a") as handle:
            handle.write(f"{name}\n")
        content = content_of(name, size)
        with (folder / "data").open("wb") as handle:
            handle.write(content[: size // 2])
            if hangs:
                handle.flush()
                print("writing", flush=True)
                time.sleep(600)
            handle.write(content[size // 2 :])

    return Recipe(what=f"set {name}", size=size, write=write)


def content_of(name: str, size: int) -> bytes:
    return (name.encode() * size)[:size]


@contextmanager
def asking(
    folder: Path,
    name: str,
    size: int,
    made: Path,
    limit: float = 1.0,
    *,
    hangs: bool = False,
    user: int = 0,
    group: int = 0,
) -> Iterator[subprocess.Popen[str]]:
    """`user`: whose process it is, of one `group` (of its own where it is 0); 0: this one's."""
    given = [str(one) for one in (folder, name, size, made, limit, int(hangs), user, group or user)]
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, *given], cwd=Path(__file__).parents[2], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def said(process: subprocess.Popen[str]) -> str:
    """Its next line; waits for it."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def main() -> None:
    folder, name, size, made, limit, hangs, user, group = sys.argv[1:]
    if int(user):  # only now: another user may not be let in to where Python lies
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    asked = recipe(name, int(size), Path(made), hangs=hangs == "1")
    try:
        lease = NodeCache(Path(folder), float(limit)).lease(name, lambda: asked)
    except OrchError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        return
    right = (lease.folder / "data").read_bytes() == content_of(name, int(size))
    print("held" if right else "wrong", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
