"""How long each running trial has said nothing, by a clock that stands still while its listener does."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

STALL_SECONDS = 5.0
"""The most that passes between two looks: a driver that was held up has not listened."""

K = TypeVar("K", bound=Hashable)


class Silence(Generic[K]):
    def __init__(self, limit: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit`: seconds; 0 for never."""
        self._limit, self._clock = limit, clock
        self._looked, self._now = clock(), 0.0
        self._heard: dict[K, float] = {}

    def heard(self, key: K) -> None:
        """It has begun, or said something."""
        self._heard[key] = self._now

    def forget(self, key: K) -> None:
        self._heard.pop(key, None)

    def overdue(self) -> list[K]:
        """Those that have been silent for longer than the limit, each told once; to be asked often."""
        looked = self._clock()
        self._now += min(looked - self._looked, STALL_SECONDS)
        self._looked = looked
        late = [key for key, heard in self._heard.items() if self._limit and self._now - heard > self._limit]
        for key in late:
            self.forget(key)
        return late
