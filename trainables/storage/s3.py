"""S3 and what is compatible with it, by few requests: an object is read, written, looked for by one each."""

from __future__ import annotations

import os
import uuid
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

from trainables.storage import s3_errors
from trainables.storage.s3_system import PatientS3, file_system
from trainables.storage.s3_transfer import pull, push

BATCH = 1000
"""Objects that S3 removes by one request."""
WRITER = "orch-writer"


class S3Store:
    remote = True

    def exists(self, path: str) -> bool:
        """Of an object; a folder is none."""
        return file_system().wait(_head, path) is not None

    def modified(self, path: str) -> float | None:
        head = file_system().wait(_head, path)
        return None if head is None else float(head["LastModified"].timestamp())

    def read(self, path: str) -> bytes:
        sink = _Bytes()
        file_system().wait(pull, path, sink)
        return b"".join(sink.pieces[start] for start in sorted(sink.pieces))

    def download(self, path: str, local: Path) -> None:
        file_system().wait(_pull_file, path, local)

    def write(self, path: str, data: bytes) -> None:
        file_system().wait(push, path, len(data), lambda start, length: data[start : start + length])

    def upload(self, local: Path, path: str) -> None:
        file_system().wait(_push_file, path, local)

    def create(self, path: str, data: bytes) -> bool:
        return file_system().wait(_create, path, data)

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        handle: AbstractContextManager[BinaryIO] = file_system().open(path, "rb")
        return handle

    def below(self, path: str) -> list[tuple[str, int]]:
        return file_system().wait(_below, path, "/")

    def folders(self, path: str) -> list[str]:
        return file_system().wait(_folders, path)

    def remove(self, path: str) -> None:
        file_system().wait(_remove, path)

    def arrow(self) -> Any:
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        return PyFileSystem(FSSpecHandler(file_system()))


class _Bytes:
    def begin(self, total: int) -> None:
        self.pieces: dict[int, bytes] = {}

    def put(self, start: int, data: bytes) -> None:
        self.pieces[start] = data


class _File:
    def __init__(self, number: int) -> None:
        self.number = number

    def begin(self, total: int) -> None:
        os.ftruncate(self.number, total)

    def put(self, start: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self.number, left, start)
            left, start = left[written:], start + written


async def _pull_file(fs: PatientS3, path: str, local: Path) -> None:
    """The file is open for as long as this runs, which is longer than the caller waits who is interrupted."""
    with local.open("wb") as handle:
        await pull(fs, path, _File(handle.fileno()))


async def _push_file(fs: PatientS3, path: str, local: Path) -> None:
    with local.open("rb") as handle:
        number, size = handle.fileno(), os.fstat(handle.fileno()).st_size
        await push(fs, path, size, lambda start, length: os.pread(number, length, start))


async def _head(fs: PatientS3, path: str) -> dict[str, Any] | None:
    bucket, key, _ = fs.split_path(path)
    with suppress(FileNotFoundError):
        head: dict[str, Any] = await fs.ask("head_object", {"Bucket": bucket, "Key": key})
        return head
    return None


async def _create(fs: PatientS3, path: str, data: bytes) -> bool:
    """An attempt whose answer was lost may have written: the object's own word says whose it is."""
    bucket, key, _ = fs.split_path(path)
    writer = uuid.uuid4().hex
    mine = {"Bucket": bucket, "Key": key, "Body": data, "IfNoneMatch": "*", "Metadata": {WRITER: writer}}
    try:
        await fs.ask("put_object", mine)
    except OSError as error:
        if s3_errors.code_of(error) not in ("412", "PreconditionFailed"):
            raise
        head = await _head(fs, path)
        return head is not None and head["Metadata"].get(WRITER) == writer
    return True


async def _below(fs: PatientS3, path: str, slash: str = "") -> list[tuple[str, int]]:
    """In the folder; without `slash` the object of that very name, too."""
    bucket, key, _ = fs.split_path(path)
    found: list[tuple[str, int]] = []
    async for page in fs._list_pages("list_objects_v2", Bucket=bucket, Prefix=f"{key}{slash}" if key else ""):
        keys = [(str(one["Key"]), int(one["Size"])) for one in page.get("Contents", [])]
        found += [(f"{bucket}/{name}", size) for name, size in keys if _is_below(name, key)]
        if key and keys and keys[-1][0] > f"{key}/\U0010ffff":  # in order, so that only siblings follow
            break
    return found


def _is_below(name: str, key: str) -> bool:
    """A name with a slash at its end is a folder that somebody's console has made."""
    return not name.endswith("/") and (not key or name == key or name.startswith(f"{key}/"))


async def _folders(fs: PatientS3, path: str) -> list[str]:
    bucket, key, _ = fs.split_path(path)
    prefix = f"{key}/" if key else ""
    found: list[str] = []
    async for page in fs._list_pages("list_objects_v2", Bucket=bucket, Prefix=prefix, Delimiter="/"):
        found += [str(one["Prefix"])[len(prefix) : -1] for one in page.get("CommonPrefixes", [])]
    return found


async def _remove(fs: PatientS3, path: str) -> None:
    bucket = fs.split_path(path)[0]
    keys = [name[len(bucket) + 1 :] for name, _ in await _below(fs, path)]
    if len(keys) == 1:
        await fs.ask("delete_object", {"Bucket": bucket, "Key": keys[0]})
        return
    for start in range(0, len(keys), BATCH):
        batch = {"Objects": [{"Key": key} for key in keys[start : start + BATCH]], "Quiet": True}
        await fs.ask("delete_objects", {"Bucket": bucket, "Delete": batch}, _all_removed)


async def _all_removed(answer: dict[str, Any]) -> None:
    """S3 answers 200 also where it removed none."""
    if answer.get("Errors"):
        raise ClientError({"Error": answer["Errors"][0]}, "DeleteObjects")
