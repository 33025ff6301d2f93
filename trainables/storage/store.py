"""What a kind of store must offer; paths are whole, `bucket/folder/name` or `/folder/name`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, Protocol


class Store(Protocol):
    """An absent object is a FileNotFoundError, except where a docstring says otherwise."""

    remote: bool
    """Whether other machines reach it by the same URL."""

    def exists(self, path: str) -> bool: ...

    def read(self, path: str) -> bytes: ...

    def write(self, path: str, data: bytes) -> None: ...

    def create(self, path: str, data: bytes) -> bool:
        """Write where nothing is; False, and nothing is written, where something is."""
        ...

    def modified(self, path: str) -> float | None:
        """Seconds since 1970 by the store's clock; None where nothing is."""
        ...

    def upload(self, local: Path, path: str) -> None: ...

    def download(self, path: str, local: Path) -> None: ...

    def open(self, path: str) -> AbstractContextManager[BinaryIO]: ...

    def below(self, path: str) -> list[tuple[str, int]]:
        """Path and bytes of each object in the folder `path`; empty where there is none."""
        ...

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly below."""
        ...

    def remove(self, path: str) -> None:
        """The object or the folder; nothing there is no error."""
        ...

    def arrow(self) -> Any:
        """Its pyarrow FileSystem, for paths as here."""
        ...
