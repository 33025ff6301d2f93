"""s3fs with one way of trying again: every request goes through `ask`, under one patience.

One client a process serves its threads, for s3fs runs them all on one loop; it is made anew after a fork and where
the environment's AWS_* change. Neither it nor its pickle holds a credential: botocore finds them where it runs.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, BinaryIO, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync_wrapper
from s3fs.core import S3FileSystem
from s3fs.errors import translate_boto_error

from trainables.storage import retry, s3_errors, traffic
from trainables.storage.errors import StorageAway, StorageError
from trainables.storage.retry import ImpatientError, patiently
from trainables.storage.traffic import Request

PART = 8 * 2**20
"""Bytes of a part of a large object, up and down; not less than the 5 MiB that S3 demands."""
CONNECTIONS = 32

T = TypeVar("T")
_ABSENT = {"404", "NoSuchKey", "NoSuchVersion", "NoSuchUpload"}
_EXPECTED = _ABSENT | {"412", "416", "InvalidRange", "PreconditionFailed"}
"""Answers that whoever asked knows what to do with; they stay OSErrors, as s3fs has them."""
_IN_PLACE_OF_HEAD = {"head_object": ("get_object", {"Range": "bytes=0-0"}), "head_bucket": ("list_objects_v2", {})}


class PatientS3(S3FileSystem):  # type: ignore[misc]
    cachable = False
    connect_timeout = 10
    read_timeout = 30
    """Seconds between one byte of an answer and the next."""

    def __init__(self) -> None:
        region = os.environ.get("AWS_REGION")  # which botocore does not read
        super().__init__(
            use_listings_cache=False,  # other processes write too
            default_block_size=PART,
            client_kwargs={"region_name": region} if region else {},
            config_kwargs={
                "retries": {"mode": "standard", "total_max_attempts": 1},
                "max_pool_connections": CONNECTIONS,
            },
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return file_system, ()

    async def set_session(self, refresh: bool = False, kwargs: Mapping[str, Any] | None = None) -> Any:
        client = await super().set_session(refresh)
        client.meta.events.register("before-call.s3", self._allow_for_the_body, unique_id="orch-read-timeout")
        return client

    def _allow_for_the_body(self, params: Mapping[str, Any], context: dict[str, Any], **_: Any) -> None:
        """The silence before an answer begins when the body is in the machine's buffers, long before it is sent."""
        body = params.get("body")
        size = body.getbuffer().nbytes if isinstance(body, io.BytesIO) else len(body or b"")
        context["read_timeout"] = self.read_timeout + size / retry.SLOWEST

    async def ask(
        self,
        method: str,
        parameters: Mapping[str, Any],
        then: Callable[[Any], Awaitable[T]] | None = None,
        size: int = 0,
    ) -> T:
        """One request of botocore's `method`, and `then` what is to be made of its answer, as one attempt.

        `size`: bytes of the answer, where they are many. Raises StorageAway, StorageError, or an OSError for an
        absent object and an unmet condition.
        """
        where = f"s3://{parameters.get('Bucket', '')}/{parameters.get('Key', parameters.get('Prefix', ''))}"

        async def attempt() -> T:
            await self.set_session()
            call = getattr(self._s3, method)
            answer = await call(**self._get_s3_method_kwargs(call, parameters))
            found = cast(T, answer) if then is None else await then(answer)
            received = int(answer.get("ContentLength", 0)) if method == "get_object" else 0
            traffic.ended(Request(method, "done", sent, received))
            return found

        def passing(error: Exception) -> tuple[str, float] | None:
            found = s3_errors.passing(error)
            traffic.ended(Request(method, _outcome(error, found is not None)))
            return found

        sent = len(parameters.get("Body", b""))
        try:
            return await patiently(attempt, passing, where=where, size=size or sent)
        except ImpatientError as error:
            raise StorageAway(s3_errors.away(where, error.waited, error.reason)) from None
        except (ClientError, BotoCoreError, OSError, ValueError) as error:
            told: Exception = await self._explained(error, method, parameters)
            if s3_errors.code_of(told) in _EXPECTED:
                raise translate_boto_error(told) from told
            raise StorageError(s3_errors.sentence(told, where, method)) from None

    async def _explained(self, error: Exception, method: str, parameters: Mapping[str, Any]) -> Exception:
        """A HEAD's answer has no body that says what is wrong, so that the like is asked by a GET."""
        if method not in _IN_PLACE_OF_HEAD or s3_errors.code_of(error) not in s3_errors.BARE:
            return error
        other, more = _IN_PLACE_OF_HEAD[method]
        call = getattr(self._s3, other)
        try:
            answer = await call(**self._get_s3_method_kwargs(call, parameters, more))
        except ClientError as explained:
            found: Exception = error if s3_errors.passing(explained) else explained
            return found
        except Exception:
            return error
        if "Body" in answer:
            answer["Body"].close()
        return error

    async def _call_s3(self, method: str, *more: Mapping[str, Any], **parameters: Any) -> Any:
        """All that s3fs itself asks."""
        return await self.ask(method, {name: value for each in (*more, parameters) for name, value in each.items()})

    call_s3 = sync_wrapper(_call_s3)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        """A file is read in ranges, each asked for patiently; s3fs writes it."""
        from trainables.storage.s3_reader import reader

        if mode == "rb":
            return reader(self, path)
        return cast(BinaryIO, super()._open(path, mode, **options))

    def wait(self, work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """What the coroutine returns, run on the loop of this process; who is interrupted here ends it there."""
        future = asyncio.run_coroutine_threadsafe(work(self, *arguments), self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise


def _outcome(error: Exception, passes: bool) -> traffic.Outcome:
    if passes:
        return "again"
    return "done" if s3_errors.code_of(error) in _EXPECTED else "failed"


_MADE: dict[tuple[int, int], PatientS3] = {}


def file_system() -> PatientS3:
    """This process's, for the AWS_* in force. Raises StorageError for an endpoint with credentials in it."""
    environment = tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))
    key = os.getpid(), hash(environment)
    if key not in _MADE:
        if "@" in s3_errors.endpoint():
            raise StorageError(
                "AWS_ENDPOINT_URL has credentials in it, which would end in logs; give http://HOST:PORT, and the "
                "credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        for name in ("botocore", "aiobotocore"):  # which log the session token where all is logged
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.INFO)
        # A parent's stay in the dictionary: closing one here would use its sockets.
        _MADE.setdefault(key, PatientS3())
    return _MADE[key]


__all__ = ["PART", "PatientS3", "file_system"]
