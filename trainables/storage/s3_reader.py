"""A seekable reader of an object: asked for in ranges. The first is kept, as most objects are no larger."""

from __future__ import annotations

import errno
import io
from typing import TYPE_CHECKING, BinaryIO, cast

from trainables.storage import s3_system, s3_transfer

if TYPE_CHECKING:
    from trainables.storage.s3_system import PatientS3

BLOCK = s3_system.PART


def reader(fs: PatientS3, path: str) -> BinaryIO:
    """Costs one request; an object of up to BLOCK bytes then costs no other. Raises FileNotFoundError."""
    ranges = Ranges(fs, path)
    return cast(BinaryIO, io.BufferedReader(ranges, BLOCK if ranges.size > BLOCK else io.DEFAULT_BUFFER_SIZE))


class Ranges(io.RawIOBase):
    def __init__(self, fs: PatientS3, path: str) -> None:
        self._fs = fs
        self._path = path
        self._first = fs.wait(s3_transfer.fetch, path, 0, BLOCK)
        self.size = self._first.total
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if self._at < 0:
            raise OSError(errno.EINVAL, "before the start of the object")
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._read(min(len(buffer), self.size - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def readall(self) -> bytes:
        """The base class would ask for it in pieces of 8 KiB."""
        pieces = []
        while data := self._read(min(s3_system.PART, self.size - self._at)):
            pieces.append(data)
            self._at += len(data)
        return b"".join(pieces)

    def _read(self, length: int) -> bytes:
        if length <= 0:
            return b""
        start, first = self._at, self._first
        if start < len(first.data):
            return first.data[start : start + length]
        piece = self._fs.wait(s3_transfer.fetch, self._path, start, length)
        if piece.tag != first.tag or len(piece.data) != length:
            raise OSError(errno.ESTALE, f"s3://{self._path}: it was replaced while it was read")
        return piece.data
