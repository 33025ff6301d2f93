"""How long a store may be away, and the one loop that tries again until then."""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import TypeVar

from trainables.storage.errors import StorageError

VARIABLE = "ORCH_STORAGE_PATIENCE"
DEFAULT_SECONDS = 300.0
FIRST_DELAY, LONGEST_DELAY = 0.2, 10.0
ATTEMPT_SECONDS = 60.0
SLOWEST = 64 * 1024
"""Bytes a second below which a transfer counts as hanging."""
SILENT_SECONDS, AGAIN_SECONDS = 10.0, 60.0
"""Waiting is told of after the former, and then every so often."""

T = TypeVar("T")
_given: ContextVar[float | None] = ContextVar("storage_patience", default=None)
_told: list[float] = []


class ImpatientError(Exception):
    """Patience is over after `waited` seconds; the cause is what the last attempt failed with."""

    def __init__(self, waited: float, reason: str) -> None:
        super().__init__(waited, reason)
        self.waited = waited
        self.reason = reason


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Inside, a store may be away for this long (0: one attempt), in place of ORCH_STORAGE_PATIENCE."""
    token = _given.set(seconds)
    try:
        yield
    finally:
        _given.reset(token)


def patience_seconds() -> float:
    """In force here. Raises StorageError where the variable is no such number."""
    given = _given.get()
    if given is not None:
        return given
    text = os.environ.get(VARIABLE) or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise StorageError(f"{VARIABLE} = {text!r}: give seconds, 0 or more, or unset it")
    return seconds


def delay(failures: int, asked: float = 0.0) -> float:
    """Seconds to wait after so many failures in a row: doubled, jittered, never less than the store `asked`."""
    doubled = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 30))
    return max(doubled * random.uniform(0.5, 1.0), min(asked, 3 * LONGEST_DELAY))


def attempt_limit(size: int, seconds: float) -> float:
    """Seconds after which an attempt to transfer `size` bytes counts as hanging."""
    return min(ATTEMPT_SECONDS, max(5.0, seconds)) + size / SLOWEST


async def patiently(
    attempt: Callable[[], Awaitable[T]],
    passing: Callable[[Exception], tuple[str, float] | None],
    *,
    where: str,
    size: int = 0,
) -> T:
    """What `attempt` returns, tried again as long as it fails with what is `passing` and patience holds.

    `passing` gives the reason in words and the seconds that the store asks to wait; None for what will not pass,
    which is raised. `size`: bytes that an attempt transfers. Raises ImpatientError.
    """
    import asyncio  # heavy for those who only read settings

    seconds, began = patience_seconds(), time.monotonic()
    for failures in count(1):
        try:
            return await asyncio.wait_for(attempt(), attempt_limit(size, seconds))
        except Exception as error:
            found = passing(error)
            if found is None:
                raise
            waited = time.monotonic() - began
            if waited >= seconds:
                raise ImpatientError(waited, found[0]) from None
        _tell(where, found[0], waited, seconds)
        await asyncio.sleep(min(delay(failures, found[1]), seconds - waited))
    raise AssertionError("unreachable")


def _tell(where: str, reason: str, waited: float, seconds: float) -> None:
    now = time.monotonic()
    if waited > SILENT_SECONDS and (not _told or now - _told[-1] > AGAIN_SECONDS):
        _told[:] = [now]
        told = "%s: %s; tried for %.0f s, going on for up to %.0f s"
        logging.getLogger("trainables.storage").warning(told, where, reason, waited, seconds)
