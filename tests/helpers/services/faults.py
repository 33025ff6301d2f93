"""What a FaultProxy is told to do, and what it saw."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

Kind = Literal["status", "hang", "slow", "cut", "reset", "refuse"]
KINDS = get_args(Kind)

SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)


class Request(NamedTuple):
    """One request as the client saw it; `sent` and `received` are bytes of its body and of the answer's."""

    method: str
    path: str  # with its query
    status: int  # 0 where it got no answer
    sent: int
    received: int


@dataclass
class Fault:
    """Holds until `seconds` are over and for `times` requests, each without end where it is None."""

    kind: Kind
    match: re.Pattern[str]
    seconds: float | None
    times: int | None
    code: int
    body: bytes
    rate: float
    over: threading.Event = field(default_factory=threading.Event)
    since: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds; infinite where only `clear` ends it."""
        if self.over.is_set():
            return 0.0
        return float("inf") if self.seconds is None else max(0.0, self.since + self.seconds - time.monotonic())


class Faults:
    """Those that hold now; shared by the proxy's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[Fault] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._active.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """The first that fits this request, which is then counted."""
        with self._lock:
            for fault in self._active:
                used_up = fault.times is not None and fault.times <= 0
                if used_up or not fault.left() or not fault.match.search(f"{method} {path}"):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def clear(self) -> None:
        with self._lock:
            for fault in self._active:
                fault.over.set()
            self._active.clear()
