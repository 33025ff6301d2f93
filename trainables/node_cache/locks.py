"""Folders that are locked by a handle on themselves, so that a lock ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from trainables.errors import MachineError
from trainables.node_cache import entry


class CacheError(MachineError):
    """This node has no room for an entry, or no access to its cache; another may."""


class _Handle:
    """An open folder; its locks are let go when it is closed."""

    def __init__(self, folder: Path, handle: int) -> None:
        self.folder = folder
        self._handle: int | None = handle

    @property
    def handle(self) -> int:
        assert self._handle is not None, f"{self.folder}: closed already"
        return self._handle

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Lease(_Handle):
    """An entry that is not evicted until this is closed or nobody refers to it any longer.

    A number of a handle means another file, or none, once it was closed: a copy with the same number would close
    that in its turn. So a copy is this lease itself, and none is sent to another process.
    """

    def __del__(self) -> None:
        self.close()

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.folder}: a lease holds in its own process alone")


class Claim(_Handle):
    """A folder that a process wants for itself."""

    @classmethod
    def of(cls, folder: Path) -> Claim | None:
        """None where there is none, or where it is closed to this user."""
        try:
            return cls(folder, os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
        except OSError:
            return None

    @classmethod
    def begin(cls, folder: Path, mode: int) -> Claim:
        """A new folder, locked; as open to a group as `mode`."""
        with access(folder.parent):
            folder.mkdir(mode=0o700)
        folder.chmod(0o700 | mode & 0o2775)
        claim = cls.of(folder)
        assert claim is not None
        fcntl.flock(claim.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return claim

    def alone(self) -> bool:
        """Lock it for this process; False where another has it."""
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def wait(self) -> None:
        """Until nobody has it alone."""
        fcntl.flock(self.handle, fcntl.LOCK_SH)

    def shared(self, name: Path) -> Lease:
        """What was filled alone, under the name that it shall have; the lock is kept, no longer alone."""
        fcntl.flock(self.handle, fcntl.LOCK_SH)
        self.folder.rename(name)
        return Lease(name, os.dup(self.handle))


def hold(folder: Path) -> Lease | None:
    """The entry, as its manifest has it; None where there is none, or where it must first be read in full."""
    lease = held(folder)
    if lease is None:
        return None
    if entry.trusted(folder):
        entry.touch(folder)
        return lease
    lease.close()
    return None


def held(folder: Path) -> Lease | None:
    """The folder, in whatever state, kept from eviction; None where there is none."""
    while True:
        with access(folder):
            try:
                handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            except (FileNotFoundError, NotADirectoryError):
                return None
        fcntl.flock(handle, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return Lease(folder, handle)
        os.close(handle)  # evicted, or made anew, before it was locked


@contextmanager
def locked(path: Path, mode: int) -> Iterator[None]:
    """Hold the lock file alone; it is made where it is absent, for those to read whom `mode` lets in."""
    with access(path):
        handle = _opened(path, mode)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _opened(path: Path, mode: int) -> int:
    """To read, which is enough to lock it: another user's file may not be opened to write."""
    while True:
        with suppress(FileNotFoundError):
            return os.open(path, os.O_RDONLY)
        with suppress(FileExistsError):
            handle = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(handle, 0o600 | mode & 0o444)
            return handle


@contextmanager
def access(folder: Path) -> Iterator[None]:
    """CacheError, with the way out, where the cache is closed to this user."""
    try:
        yield
    except PermissionError as error:
        raise CacheError(
            f"{error.filename or folder}: the cache is another user's ({error.strerror}); set ORCH_CACHE to a "
            "folder of your own, or have that one opened to your group"
        ) from error
