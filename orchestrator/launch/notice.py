"""What a process that trains does when its machine is about to be taken away: a checkpoint, and an end, in time.

It hears of it in two ways. SIGTERM to the process itself: Ray's own handler would end it at once, so `listen` puts
another in its place, in the main thread of the worker, where Ray Tune sets its trainable up and Ray Train its
backend. And a Ray node that drains: that is all that the workers see of a SIGTERM to `ray start --block`, or of
`ray drain-node`. Ray then gives the node no new work, tells its workers nothing, and kills them when its deadline
is over (RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, 30 s, after a SIGTERM), so that they ask.

Either way the run ends at the end of its epoch, with a checkpoint. Where the epoch outlasts the notice, the process
ends after `NOTICE_SECONDS`, and the run goes on from the checkpoint before: for a student of long epochs, and for
every teacher, that is the end of the last epoch. Nothing of an epoch itself is ever kept. A SIGTERM to the raylet,
and `ray stop`, leave no time at all: the workers end with their raylet, as they do with a SIGKILL.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NOTICE_SECONDS = 25.0
"""Of the thirty that machines are usually given."""
DRAIN_SECONDS = 3.0
"""How long an answer to whether the node drains holds; asking takes some 5 ms."""


class Notice:
    """Whether this process has been told to end. One a process, as there is one handler of signals."""

    def __init__(self, seconds: float = NOTICE_SECONDS) -> None:
        self._seconds = seconds
        self._told = threading.Event()
        self._working = 0
        self._lock = threading.Lock()
        self._before: Any = signal.SIG_DFL
        self._asked, self._drains = -DRAIN_SECONDS, False

    def listen(self) -> None:
        """Take SIGTERM, in the main thread; while nothing is worked on it ends the process as it did before."""
        before = signal.getsignal(signal.SIGTERM)
        if before != self._handle:
            self._before = before
            signal.signal(signal.SIGTERM, self._handle)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, SIGTERM is a notice; in any thread."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    def given(self) -> bool:
        """Whether the run should end at the next opportunity; cheap enough to ask at every epoch."""
        return self._told.is_set() or self._node_drains()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._working and callable(self._before):
            self._before(number, frame)
        elif not self._working:
            os._exit(128 + number)
        elif not self._told.is_set():
            self._told.set()
            timer = threading.Timer(self._seconds, os._exit, (128 + number,))
            timer.daemon = True
            timer.start()

    def _node_drains(self) -> bool:
        if not self._drains and time.monotonic() - self._asked >= DRAIN_SECONDS:
            self._asked, self._drains = time.monotonic(), node_drains()
        return self._drains


def node_drains() -> bool:
    """Whether the Ray node of this worker is about to go; False outside Ray, and where Ray does not say."""
    import ray
    from ray._private.state import state

    if not ray.is_initialized():
        return False
    try:
        return ray.get_runtime_context().get_node_id() in state.get_draining_nodes()
    except Exception:
        return False


NOTICE = Notice()
"""This process's."""


def listen() -> None:
    NOTICE.listen()
