"""What an entry of a node's cache is made of, and how one is known to be whole.

`manifest.json` holds the size and SHA-256 of every file. Reading all of them each time a process maps an entry
would cost more than mapping saves, so `stamp.json` says when they were last read: in which boot of the machine, and
each file's time of change then. While both are still so, nothing has written to the files since and no crash can
have lost their pages; otherwise they are read again in full. The stamp's own time is that of the entry's last use.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from trainables.storage import sha256

MANIFEST, STAMP = "manifest.json", "stamp.json"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot() -> str:
    """The running boot of this machine; empty where the system does not say."""
    with suppress(OSError):
        return _BOOT.read_text("utf-8").strip()
    return ""


def seal(folder: Path, mode: int) -> None:
    """Write the manifest and the stamp of a folder that is complete.

    `mode` is the cache folder's. Where it lets a group in, that group may read the files, say that it used them,
    and remove them; nobody but the owner may write to what others map.
    """
    files = {name: {"size": path.stat().st_size, "sha256": sha256(path)} for name, path in _files(folder).items()}
    (folder / MANIFEST).write_text(json.dumps({"files": files}), "utf-8")
    stamp(folder)
    for path in (folder / MANIFEST, *_files(folder).values()):
        path.chmod(0o600 | mode & 0o444)
    (folder / STAMP).chmod(0o600 | mode & 0o664)


def stamp(folder: Path) -> None:
    """Note that the files are, as they now lie there, what the manifest says."""
    (folder / STAMP).write_text(json.dumps({"boot": boot(), "changed": _changed(folder)}), "utf-8")


def trusted(folder: Path) -> bool:
    """Whether every file has its size, and nothing happened since they were last read in full."""
    try:
        wanted, noted = _manifest(folder), json.loads((folder / STAMP).read_text("utf-8"))
        sizes = {name: path.stat().st_size for name, path in _files(folder).items()}
        return (
            noted["boot"] == boot()
            and sizes == {name: facts["size"] for name, facts in wanted.items()}
            and _changed(folder) == noted["changed"]
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


def whole(folder: Path) -> bool:
    """Whether the files are those of the manifest, all of them read."""
    try:
        wanted, found = _manifest(folder), _files(folder)
        return set(found) == set(wanted) and all(
            path.stat().st_size == wanted[name]["size"] and sha256(path) == wanted[name]["sha256"]
            for name, path in found.items()
        )
    except (OSError, ValueError, TypeError, KeyError):
        return False


def touch(folder: Path) -> None:
    """Note the use; of an entry of another user's that is not to be: it then counts as older than it is."""
    with suppress(OSError):
        os.utime(folder / STAMP)


def last_use(folder: Path) -> float:
    """Seconds of the wall clock; of a clock that was ahead: now, so that nothing is kept for ever by it."""
    try:
        return min((folder / STAMP).stat().st_mtime, time.time())
    except OSError:
        return 0.0


def size(folder: Path) -> int:
    """Bytes of everything in the folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size if not path.is_dir() else 0
    return total


def _changed(folder: Path) -> dict[str, int]:
    """When each file was last written to, the manifest too."""
    files = _files(folder) | {MANIFEST: folder / MANIFEST}
    return {name: path.stat().st_mtime_ns for name, path in files.items()}


def _manifest(folder: Path) -> dict[str, Any]:
    files: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
    return files


def _files(folder: Path) -> dict[str, Path]:
    """What is verified, by its name below the folder."""
    own = (MANIFEST, STAMP)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: path for name, path in found.items() if name not in own}
