"""A storage root: the only way that anything else here reads or writes a file or an object."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from trainables.storage.errors import StorageError
from trainables.storage.keys import FileInfo, checked_root, clean, is_temporary
from trainables.storage.store import Store


@dataclass(frozen=True)
class Storage:
    """A folder of some file system. Small, picklable (it holds the URL alone) and cheap to make."""

    root: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", checked_root(self.root))

    @cached_property
    def _store_and_path(self) -> tuple[Store, str]:
        scheme, _, rest = self.root.partition("://")
        if scheme in ("s3", "s3a"):
            from trainables.storage.s3 import S3Store

            return S3Store(), rest.rstrip("/")
        from trainables.storage.plain import plain_store

        return plain_store(self.root)

    def __getstate__(self) -> dict[str, str]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, str]) -> None:
        object.__setattr__(self, "root", state["root"])

    @property
    def local(self) -> Path | None:
        """The folder itself where the root is on this machine's file system."""
        from trainables.storage.plain import FolderStore

        store, path = self._store_and_path
        return Path(path) if isinstance(store, FolderStore) else None

    @property
    def remote(self) -> bool:
        """Whether other machines reach it by the same URL: not a folder, not this process's memory."""
        return self._store_and_path[0].remote

    def arrow(self) -> tuple[Any, str]:
        """The root as a pyarrow FileSystem and the path in it, for Ray; its pickle holds no credential."""
        store, path = self._store_and_path
        return store.arrow(), path

    def at(self, prefix: str) -> Storage:
        """The storage below `prefix`."""
        return Storage(f"{self.root.rstrip('/')}/{clean(prefix)}")

    def url(self, key: str) -> str:
        return f"{self.root.rstrip('/')}/{clean(key)}"

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        store, path = self._at(key)
        return store.exists(path)

    def modified(self, key: str) -> float | None:
        """When the object was written, in seconds since 1970 by the store's clock; None where there is none."""
        store, path = self._at(key)
        return store.modified(path)

    def read_bytes(self, key: str) -> bytes:
        store, path = self._at(key)
        with self._named(key):
            return store.read(path)

    def read_text(self, key: str) -> str:
        return self.read_bytes(key).decode("utf-8")

    def write_bytes(self, key: str, data: bytes) -> None:
        """Store `data` under `key`, whole or not at all."""
        store, path = self._at(key)
        store.write(path, data)

    def write_text(self, key: str, text: str) -> None:
        self.write_bytes(key, text.encode("utf-8"))

    def create(self, key: str, data: bytes) -> bool:
        """Store `data` where there is no such object; of several who try, one is told True, the others False."""
        store, path = self._at(key)
        return store.create(path, data)

    def upload(self, local: Path, key: str) -> None:
        """Copy the local file to `key`, whole or not at all."""
        store, path = self._at(key)
        store.upload(local, path)

    def download(self, key: str, local: Path) -> Path:
        """Copy the object to the local file, whole or not at all; its folder is made."""
        store, path = self._at(key)
        local.parent.mkdir(parents=True, exist_ok=True)
        temporary = local.with_name(f".{local.name}.{uuid.uuid4().hex[:8]}")
        try:
            with self._named(key):
                store.download(path, temporary)
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)
        return local

    @contextmanager
    def open(self, key: str) -> Iterator[BinaryIO]:
        """A seekable binary reader."""
        store, path = self._at(key)
        with self._named(key):
            handle = store.open(path)
        with handle as reader:
            yield reader

    def list(self, prefix: str = "") -> list[FileInfo]:
        """Every object below `prefix`, by key; temporary objects of a write in progress are left out."""
        (store, start), root = self._at(prefix), self._store_and_path[1]
        infos = [FileInfo(name[len(root) + 1 :], size) for name, size in store.below(start)]
        return sorted((i for i in infos if not is_temporary(i.key)), key=lambda info: info.key)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """The names of the folders directly below `prefix`, in order."""
        store, start = self._at(prefix)
        return sorted(store.folders(start))

    def remove(self, prefix: str) -> None:
        """Remove the object or the folder; nothing there is no error."""
        store, path = self._at(prefix)
        store.remove(path)

    def _at(self, key: str) -> tuple[Store, str]:
        store, path = self._store_and_path
        return store, f"{path}/{clean(key)}" if key else path

    @contextmanager
    def _named(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(f"{self.url(key)}: there is no such object") from error


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a local file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
