"""Any file system that fsspec knows and that shows a write only when it is complete; and the local one."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from trainables.storage.errors import StorageError
from trainables.storage.store import Store


def plain_store(root: str) -> tuple[Store, str]:
    """The store of a root and the root's path in it."""
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise StorageError(f"storage {root!r}: {error}; give a folder or an fsspec URL") from error
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)
    store = FolderStore(fs) if "file" in protocols else PlainStore(fs, remote="memory" not in protocols)
    return store, str(path).rstrip("/")


NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
"""What a file system says that has no links."""


class PlainStore:
    def __init__(self, fs: Any, *, remote: bool) -> None:
        self.fs = fs
        self.remote = remote

    def exists(self, path: str) -> bool:
        return bool(self.fs.exists(path))

    def read(self, path: str) -> bytes:
        return bytes(self.fs.cat_file(path))

    def write(self, path: str, data: bytes) -> None:
        self.fs.pipe_file(path, data)

    def create(self, path: str, data: bytes) -> bool:
        try:
            self.fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def modified(self, path: str) -> float | None:
        try:
            found: datetime = self.fs.modified(path)
        except FileNotFoundError:
            return None
        return found.timestamp()

    def upload(self, local: Path, path: str) -> None:
        self.fs.put_file(str(local), path)

    def download(self, path: str, local: Path) -> None:
        self.fs.get_file(path, str(local))

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        handle: AbstractContextManager[BinaryIO] = self.fs.open(path, "rb")
        return handle

    def below(self, path: str) -> list[tuple[str, int]]:
        try:
            found = self.fs.find(path, detail=True)
        except FileNotFoundError:
            return []
        return [(str(name), int(entry["size"] or 0)) for name, entry in found.items()]

    def folders(self, path: str) -> list[str]:
        try:
            entries = self.fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return [str(e["name"]).rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory"]

    def remove(self, path: str) -> None:
        if self.fs.exists(path):
            self.fs.rm(path, recursive=True)

    def arrow(self) -> Any:
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        return PyFileSystem(FSSpecHandler(self.fs))


class FolderStore(PlainStore):
    """A plain write to a local file would show half of it, so what is written is moved to its name."""

    def __init__(self, fs: Any) -> None:
        super().__init__(fs, remote=False)

    def write(self, path: str, data: bytes) -> None:
        with _beside(path) as temporary:
            self.fs.pipe_file(str(temporary), data)
            temporary.replace(path)

    def upload(self, local: Path, path: str) -> None:
        with _beside(path) as temporary:
            self.fs.put_file(str(local), str(temporary))
            temporary.replace(path)

    def create(self, path: str, data: bytes) -> bool:
        """A link is made whole or refused, on a network's file systems too."""
        with _beside(path) as temporary:
            temporary.write_bytes(data)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                return _exclusive(path, data)
        return True

    def modified(self, path: str) -> float | None:
        with suppress(FileNotFoundError):
            return Path(path).stat().st_mtime
        return None

    def arrow(self) -> Any:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem()


def _exclusive(path: str, data: bytes) -> bool:
    """The name is taken at once, its content follows."""
    try:
        with Path(path).open("xb") as handle:
            handle.write(data)
    except FileExistsError:
        return False
    return True


@contextmanager
def _beside(path: str) -> Iterator[Path]:
    """A temporary name in the folder of `path`, which is made; whatever is left there is removed."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
