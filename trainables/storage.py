"""The only door to files and object stores: any fsspec URL is a storage root.

Keys are relative, with `/` between their parts. A write is atomic: a reader sees the old object or the whole
new one. Credentials come from the environment or a role, never through this module.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from trainables.errors import UserError


class StorageError(UserError):
    """A storage root or a key in it cannot be read or written."""


@dataclass(frozen=True)
class FileInfo:
    """`key` is relative to the root that listed it; `size` is in bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class Storage:
    """A folder of some file system. Small, picklable (it holds the URL alone) and cheap to make."""

    root: str

    def __post_init__(self) -> None:
        if "://" not in self.root:
            object.__setattr__(self, "root", str(Path(self.root).expanduser().absolute()))

    @cached_property
    def _fs_and_path(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            fs, path = url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise StorageError(f"storage {self.root!r}: {error}; give a folder or an fsspec URL") from error
        return fs, str(path).rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, str]) -> None:
        object.__setattr__(self, "root", state["root"])

    @property
    def local(self) -> Path | None:
        """The folder itself where the root is on this machine's file system."""
        fs, path = self._fs_and_path
        return Path(path) if "file" in _protocols(fs) else None

    def at(self, prefix: str) -> Storage:
        """The storage below `prefix`."""
        return Storage(f"{self.root.rstrip('/')}/{_clean(prefix)}")

    def url(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{_clean(key)}"

    def exists(self, key: str) -> bool:
        fs, path = self._fs_and_path
        return bool(fs.exists(f"{path}/{_clean(key)}"))

    def read_bytes(self, key: str) -> bytes:
        fs, path = self._fs_and_path
        try:
            return bytes(fs.cat_file(f"{path}/{_clean(key)}"))
        except FileNotFoundError as error:
            raise StorageError(f"{self.url(key)}: there is no such object") from error

    def read_text(self, key: str) -> str:
        return self.read_bytes(key).decode("utf-8")

    def write_bytes(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whole or not at all."""
        with self._replacing(key) as (fs, temporary):
            fs.pipe_file(temporary, data)

    def write_text(self, key: str, text: str) -> None:
        self.write_bytes(key, text.encode("utf-8"))

    def upload(self, local: Path, key: str) -> None:
        """Copy the local file to `key`, whole or not at all."""
        with self._replacing(key) as (fs, temporary):
            fs.put_file(str(local), temporary)

    def download(self, key: str, local: Path) -> Path:
        """Copy the object to the local file, whole or not at all; its folder is made."""
        fs, path = self._fs_and_path
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.with_name(f".{local.name}.{uuid.uuid4().hex[:8]}")
        try:
            fs.get_file(f"{path}/{_clean(key)}", str(temporary))
            temporary.replace(local)
        except FileNotFoundError as error:
            raise StorageError(f"{self.url(key)}: there is no such object") from error
        finally:
            temporary.unlink(missing_ok=True)
        return local

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """A seekable binary reader."""
        fs, path = self._fs_and_path
        try:
            handle = fs.open(f"{path}/{_clean(key)}", "rb")
        except FileNotFoundError as error:
            raise StorageError(f"{self.url(key)}: there is no such object") from error
        with handle:
            yield handle

    def list(self, prefix: str = "") -> list[FileInfo]:
        """Every object below `prefix`, by key; temporary objects of a write in progress are left out."""
        fs, path = self._fs_and_path
        start = f"{path}/{_clean(prefix)}" if prefix else path
        try:
            found = fs.find(start, detail=True)
        except FileNotFoundError:
            return []
        infos = [FileInfo(str(name)[len(path) + 1 :], int(entry["size"] or 0)) for name, entry in found.items()]
        return sorted((i for i in infos if not _is_temporary(i.key)), key=lambda info: info.key)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below `prefix`, in order."""
        fs, path = self._fs_and_path
        start = f"{path}/{_clean(prefix)}" if prefix else path
        try:
            entries = fs.ls(start, detail=True)
        except FileNotFoundError:
            return []
        return sorted(str(e["name"]).rstrip("/").rsplit("/", 1)[-1] for e in entries if e["type"] == "directory")

    def remove(self, prefix: str) -> None:
        """Remove the object or the folder; nothing there is no error."""
        fs, path = self._fs_and_path
        target = f"{path}/{_clean(prefix)}"
        if fs.exists(target):
            fs.rm(target, recursive=True)

    @contextmanager
    def _replacing(self, key: str) -> Iterator[tuple[Any, str]]:
        """A temporary name beside `key`, moved over it at the end where a plain write is not atomic."""
        fs, path = self._fs_and_path
        target = f"{path}/{_clean(key)}"
        if "file" not in _protocols(fs):  # object stores show a put only when it is complete
            yield fs, target
            return
        parent, name = target.rsplit("/", 1)
        Path(parent).mkdir(parents=True, exist_ok=True)
        temporary = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.part"
        try:
            yield fs, temporary
            os.replace(temporary, target)  # noqa: PTH105 - both are strings of one file system
        finally:
            Path(temporary).unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a local file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _clean(key: str) -> str:
    """The key without a leading or trailing slash; leaving the root is refused."""
    parts = PurePosixPath(key.strip("/")).parts
    if ".." in parts:
        raise StorageError(f"key {key!r} leaves its storage root")
    return "/".join(parts)


def _protocols(fs: Any) -> tuple[str, ...]:
    protocol = fs.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _is_temporary(key: str) -> bool:
    name = key.rsplit("/", 1)[-1]
    return name.startswith(".") and name.endswith(".part")
