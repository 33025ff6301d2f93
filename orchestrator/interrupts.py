"""SIGTERM as Ctrl-C: a supervisor's end and a user's leave the same things behind, and a supervisor's is in time.

Who sends SIGTERM sends SIGKILL some thirty seconds later, often to every process of a service at once. A call to a
Ray cluster that has ended then waits for its return, for a minute and more, and listens to no signal meanwhile.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

LAST_SECONDS = 20.0
EXIT_CODE = 130

_TIMERS: list[threading.Timer] = []


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt inside; the handler from before stands again afterwards.

    What is still inside `LAST_SECONDS` later ends with the process, by force: what is stored is stored whole.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, earlier = signal.getsignal(signal.SIGTERM), len(_TIMERS)
    take_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        while len(_TIMERS) > earlier:
            _TIMERS.pop().cancel()


def take_sigterm() -> None:
    """Set the handler, again where a library has set its own; nothing outside the main thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def exit_in_time(last: Callable[[], object] = lambda: None) -> None:
    """End the process in `LAST_SECONDS`, after calling `last`, unless the `terminable` around is left before."""

    def end() -> None:
        with suppress(Exception):
            last()
        os._exit(EXIT_CODE)

    timer = threading.Timer(LAST_SECONDS, end)
    timer.daemon = True
    timer.start()
    _TIMERS.append(timer)


def _interrupt(number: int, frame: Any) -> None:
    exit_in_time()
    raise KeyboardInterrupt
