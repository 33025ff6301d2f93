"""Room on local disks: how much there is, how it is told, and a full disk as the machine's fault that it is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainables.errors import MachineError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def free_and_total(folder: Path) -> tuple[int, int]:
    """Bytes of the folder's disk that this user may still write, and all of them."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def told(size: float) -> str:
    """A number of bytes for people: `3.2 GB`."""
    for unit, name in _UNITS:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size:.0f} bytes"


@contextmanager
def writing(folder: Path, what: str) -> Iterator[None]:
    """MachineError, with the way out, where the disk of `folder` is full; `what` is being written."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise MachineError(
            f"{folder}: the disk is full ({error.strerror}) and {what} does not fit; free some of it, or point "
            "ORCH_CACHE (transfer sets) and TMPDIR (everything else) at a larger one"
        ) from error
