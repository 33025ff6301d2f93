"""Trying again: how often, how long, and what ends it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from trainables.storage import retry
from trainables.storage.errors import StorageError


class GoneError(Exception):
    """Passes."""


def passing(error: Exception) -> tuple[str, float] | None:
    return ("it is gone", 0.0) if isinstance(error, GoneError | TimeoutError) else None


def failing(times: int, error: Exception) -> tuple[Callable[[], Awaitable[int]], list[int]]:
    """An attempt that fails so often and then returns how often it was made, and the list of them."""
    made: list[int] = []

    async def attempt() -> int:
        made.append(len(made))
        if len(made) <= times:
            raise error
        return len(made)

    return attempt, made


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.001)
    monkeypatch.delenv(retry.VARIABLE, raising=False)


def test_what_passes_is_tried_until_it_has_passed() -> None:
    attempt, made = failing(5, GoneError())
    assert asyncio.run(retry.patiently(attempt, passing, where="k")) == 6
    assert len(made) == 6


def test_what_does_not_pass_is_tried_once() -> None:
    attempt, made = failing(5, KeyError("k"))
    with pytest.raises(KeyError):
        asyncio.run(retry.patiently(attempt, passing, where="k"))
    assert len(made) == 1


def test_patience_ends() -> None:
    attempt, made = failing(10**9, GoneError())
    with retry.patience(0.2), pytest.raises(retry.ImpatientError) as caught:
        asyncio.run(retry.patiently(attempt, passing, where="k"))
    assert len(made) > 3
    assert caught.value.waited >= 0.2
    assert caught.value.reason == "it is gone"


def test_without_patience_there_is_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retry.VARIABLE, "0")
    attempt, made = failing(10**9, GoneError())
    with pytest.raises(retry.ImpatientError):
        asyncio.run(retry.patiently(attempt, passing, where="k"))
    assert len(made) == 1


def test_an_attempt_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "attempt_limit", lambda size, seconds: 0.05)
    made: list[int] = []

    async def attempt() -> str:
        made.append(1)
        if len(made) == 1:
            await asyncio.sleep(1000)
        return "done"

    assert asyncio.run(retry.patiently(attempt, passing, where="k")) == "done"
    assert len(made) == 2


def test_a_large_transfer_may_take_longer() -> None:
    assert retry.attempt_limit(0, 300) == 60
    assert retry.attempt_limit(0, 8) == 8
    assert retry.attempt_limit(0, 0) == 5
    assert retry.attempt_limit(16 * 2**20, 300) == 60 + 256


def test_delays_double_with_jitter_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.2)
    for failures, full in ((1, 0.2), (2, 0.4), (4, 1.6), (7, 10.0), (1000, 10.0)):
        drawn = [retry.delay(failures) for _ in range(200)]
        assert full / 2 <= min(drawn) < max(drawn) <= full
        assert len(set(drawn)) > 100
    assert retry.delay(1, asked=5.0) == 5.0
    assert retry.delay(1, asked=10**6) == 30.0


@pytest.mark.parametrize("text", ["long", "-1", "nan"])
def test_a_patience_that_is_no_number_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(retry.VARIABLE, text)
    with pytest.raises(StorageError, match=f"ORCH_STORAGE_PATIENCE = '{text}': give seconds"):
        retry.patience_seconds()


def test_the_default_and_the_nearer_patience_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert retry.patience_seconds() == retry.DEFAULT_SECONDS
    monkeypatch.setenv(retry.VARIABLE, "12.5")
    assert retry.patience_seconds() == 12.5
    with retry.patience(1.0):
        assert retry.patience_seconds() == 1.0
    assert retry.patience_seconds() == 12.5


def test_waiting_is_told_of_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(retry, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(retry, "_told", [])
    attempt, _ = failing(10**9, GoneError())
    with retry.patience(0.3), pytest.raises(retry.ImpatientError), caplog.at_level(logging.WARNING):
        asyncio.run(retry.patiently(attempt, passing, where="s3://b/k"))
    assert len(caplog.messages) == 1
    assert "s3://b/k: it is gone; tried for 0 s, going on for up to 0 s" in caplog.messages
