"""Whole objects up and down: small ones by one request, large ones in parts, a few at once, each patiently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

from trainables.errors import MachineError
from trainables.storage import s3_errors, s3_system
from trainables.storage.retry import patience
from trainables.storage.s3_system import PatientS3

UP_AT_ONCE, DOWN_AT_ONCE = 4, 8
MOST_PARTS = 10_000
TRIES = 5
"""For an object that is replaced while it is read, and an upload that the store forgets."""
ABORT_SECONDS = 5.0

T = TypeVar("T")


class Piece(NamedTuple):
    """Bytes of an object of `total` bytes; `tag` differs when the object is another."""

    data: bytes
    total: int
    tag: str


class Sink(Protocol):
    def begin(self, total: int) -> None:
        """The object is of so many bytes; what was put before is of another."""
        ...

    def put(self, start: int, data: bytes) -> None: ...


async def fetch(fs: PatientS3, path: str, start: int, length: int) -> Piece:
    """Up to `length` bytes from `start`; none where the object is empty. Raises FileNotFoundError."""
    bucket, key, _ = fs.split_path(path)

    async def body(answer: Any) -> Piece:
        async with answer["Body"] as stream:
            data = await stream.read()
        span = str(answer.get("ContentRange", ""))
        return Piece(data, int(span.rpartition("/")[2]) if span else len(data), answer.get("ETag", ""))

    span = f"bytes={start}-{start + length - 1}"
    try:
        return await fs.ask("get_object", {"Bucket": bucket, "Key": key, "Range": span}, body, length)
    except OSError as error:
        if s3_errors.code_of(error) in ("416", "InvalidRange") and start == 0:
            return Piece(b"", 0, "")
        raise


async def pull(fs: PatientS3, path: str, sink: Sink) -> None:
    """The whole object, all of one version. Raises FileNotFoundError, MachineError."""
    for _ in range(TRIES):
        first = await fetch(fs, path, 0, s3_system.PART)
        sink.begin(first.total)
        sink.put(0, first.data)
        rest = range(len(first.data), first.total, max(1, len(first.data)))
        if all(await each(partial(_part, fs, path, sink, first), rest, DOWN_AT_ONCE)):
            return
    raise MachineError(f"s3://{path}: it was replaced while it was read, {TRIES} times over; try again later")


async def _part(fs: PatientS3, path: str, sink: Sink, first: Piece, start: int) -> bool:
    """False where the object is another by now."""
    length = min(len(first.data), first.total - start)
    try:
        piece = await fetch(fs, path, start, length)
    except OSError as error:
        if s3_errors.code_of(error) in ("416", "InvalidRange"):
            return False
        raise
    if piece.tag != first.tag or len(piece.data) != length:
        return False
    sink.put(start, piece.data)
    return True


async def push(fs: PatientS3, path: str, size: int, source: Callable[[int, int], bytes]) -> None:
    """`source(start, length)` reads what is stored. Nothing is seen of it before all is there."""
    bucket, key, _ = fs.split_path(path)
    part = max(s3_system.PART, -(-size // MOST_PARTS))
    if size <= part:
        await fs.ask("put_object", {"Bucket": bucket, "Key": key, "Body": source(0, size)})
        return
    for left in reversed(range(TRIES)):
        try:
            await _push_parts(fs, {"Bucket": bucket, "Key": key}, range(0, size, part), source)
            return
        except FileNotFoundError:  # of the upload: an attempt whose answer was lost may have completed it
            if not left:
                raise MachineError(f"s3://{path}: the store forgets the parts of an upload; see to it") from None


async def _push_parts(
    fs: PatientS3, where: dict[str, str], starts: range, source: Callable[[int, int], bytes]
) -> None:
    begun: Any = await fs.ask("create_multipart_upload", where)
    upload = {**where, "UploadId": begun["UploadId"]}

    async def send(start: int) -> dict[str, Any]:
        number = start // starts.step + 1
        body = source(start, starts.step)
        answer: Any = await fs.ask("upload_part", {"PartNumber": number, "Body": body, **upload})
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
        return {"PartNumber": number, "ETag": answer["ETag"], **sums}

    try:
        parts = await each(send, starts, UP_AT_ONCE)
        await fs.ask("complete_multipart_upload", {"MultipartUpload": {"Parts": parts}, **upload}, size=starts.step)
    except BaseException:
        with patience(ABORT_SECONDS), suppress(Exception):
            await fs.ask("abort_multipart_upload", upload)
        raise


async def each(work: Callable[[int], Awaitable[T]], items: Sequence[int], at_once: int) -> list[T]:
    """The work's results in order, `at_once` at a time; the first failure ends them all and is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: int) -> T:
        async with gate:
            return await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(item)) for item in items]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [task.result() for task in tasks]
