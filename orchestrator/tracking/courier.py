"""The thread that carries a spool to MLflow: recovery, then batches, with backoff while the server is away."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal

from orchestrator.tracking.client import connect, shown, wait_longer
from orchestrator.tracking.faults import brief, timed_out, told
from orchestrator.tracking.reconcile import close_stale
from orchestrator.tracking.recovery import Recovery
from orchestrator.tracking.spool import Segment
from orchestrator.tracking.writer import Writer

Level = Literal["info", "warning"]
_BATCH = 1000
"""Most events applied before the cursor moves."""


class Courier(threading.Thread):
    """Daemon thread on one live segment; `every` seconds between batches, `retry` = (first, longest) wait.

    holds: whether this process holds the sweep, so that its runs of lost drivers on other hosts are closed.
    """

    def __init__(
        self,
        uri: str,
        segment: Segment,
        sweep: str,
        *,
        holds: bool,
        alive: Collection[str],
        every: float,
        retry: tuple[float, float],
    ) -> None:
        super().__init__(name="mlflow", daemon=True)
        self._uri, self._segment, self._alive = uri, segment, alive
        self._sweep = sweep if holds else None
        self._recovery = Recovery(segment.path.parent, uri, self._refused, self._back)
        self._every, self._retry = every, retry
        self._hurry, self._deadline = threading.Event(), float("inf")
        self._away = self._left = False
        self._batch = _BATCH
        self._said: set[str] = set()
        self._messages: queue.SimpleQueue[tuple[str, Level]] = queue.SimpleQueue()
        self.busy_seconds = 0.0

    def messages(self) -> Iterator[tuple[str, Level]]:
        """What there is to say, once."""
        while True:
            try:
                yield self._messages.get_nowait()
            except queue.Empty:
                return

    def finish(self, seconds: float) -> bool:
        """Send the rest within `seconds` (a quarter of it while the server is away); True if all was sent."""
        end = time.monotonic() + seconds
        self._deadline = time.monotonic() + seconds / 4 if self._away else end
        self._hurry.set()
        self.join(self._deadline - time.monotonic())
        if not self._away:
            self._deadline = end
            self.join(max(0.0, end - time.monotonic()))
        self.join(1.0)
        return not self.is_alive() and not self._segment.path.exists()

    def leave(self) -> None:
        """End after the request that is under way, and leave the rest in the spool."""
        self._left = True
        self._deadline = 0.0
        self._hurry.set()
        self.join(1.0)

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._say(f"MLflow is no longer written ({type(error).__name__}: {brief(error)})", "warning")
        if not self._hurry.is_set():
            return
        if self._segment.drained():
            self._segment.remove()
        else:
            self._segment.release()

    def _work(self) -> None:
        state: dict[str, Any] = {}

        def start() -> None:
            state["client"] = connect(self._uri)

        if not (self._persist(start) and self._persist(lambda: self._recover(state["client"]))):
            return
        header = self._segment.header()
        if header is None:
            return
        writer = Writer(state["client"], header, self._segment.files, self._refused)
        last = False
        while not last:
            last = self._hurry.is_set()
            if self._left or not self._persist(lambda: self._drain(self._segment, writer)):
                return
            self._hurry.wait(self._every)

    def _recover(self, client: Any) -> None:
        """Send what earlier drivers spooled, then close what they left open."""
        self._recovery.send(client, self._batch)
        closed = close_stale(client, self._sweep, self._alive, reopens=True)
        if closed:
            self._say(f"MLflow: closed {len(closed)} runs that a lost driver had left open", "info")

    def _drain(self, segment: Segment, writer: Writer) -> None:
        segment.sync()
        while True:
            events, end = segment.read(self._batch)
            if end == segment.offset or self._left:
                return
            writer.apply(events)
            segment.applied(end)
            self._back()
            self._batch = min(_BATCH, 2 * self._batch)

    def _persist(self, call: Callable[[], None]) -> bool:
        """Repeat until it succeeds; False if the time to close came first."""
        wait, longest = self._retry
        while True:
            began = time.thread_time()
            try:
                call()
            except Exception as error:
                self._lost(error)
            else:
                self._back()
                return True
            finally:
                self.busy_seconds += time.thread_time() - began
            left = self._deadline - time.monotonic()
            if left <= 0:
                return False
            # While hurried, the event no longer sleeps.
            time.sleep(min(wait, 0.5, left)) if self._hurry.is_set() else self._hurry.wait(wait)
            wait = min(wait * 2, longest)

    def _lost(self, error: Exception) -> None:
        # A line that often breaks lets short batches through; what they bring need not be repeated.
        self._batch = max(1, self._batch // 4)
        if timed_out(error):
            wait_longer()
        if not self._away:
            self._away = True
            self._say(
                f"MLflow at {shown(self._uri)} cannot be written ({told(error, self._uri)}); "
                f"it is spooled in {self._segment.path.parent} and sent later",
                "warning",
            )

    def _back(self) -> None:
        if self._away:
            self._away = False
            self._say(f"MLflow at {shown(self._uri)} is back; what it missed is being sent", "info")

    def _refused(self, why: str) -> None:
        if why not in self._said:
            self._said.add(why)
            self._say(f"MLflow refused an entry: {why}", "warning")

    def _say(self, text: str, level: Level) -> None:
        self._messages.put((text, level))
