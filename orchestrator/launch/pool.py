"""Processes side by side that take one job after another, as many as there is room for at the time.

A process that is lost, with its node or alone, costs its job an attempt and nothing else: the job goes to another
process, and a new process is asked for. One that waits for room holds no job, so that the others go on without it;
that it waits is what tells an autoscaler of it. Nodes that come are used.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orchestrator.errors import StageError
from orchestrator.launch.error_lines import last_line
from orchestrator.launch.growth import wanted
from orchestrator.launch.losses import machine_error
from orchestrator.launch.placement import concurrency, current, room
from orchestrator.launch.shapes import Role, bundle, options
from orchestrator.launch.trial import reason_of
from orchestrator.resources import PoolResources
from trainables.errors import UserError

LOST_PROCESSES = 2
"""How often a job whose process was lost, or whose machine failed, is tried again."""
LOOK_SECONDS = 10.0
"""How often the room is counted anew."""
ROOM_SECONDS = 1800.0
"""How long no process at all may have room."""

J = TypeVar("J")


@dataclass(frozen=True)
class Failure:
    """Why a job has no result."""

    reason: str
    user: bool = False
    """Whether it is the user's to mend."""
    machine: bool = False
    """Whether another attempt may succeed."""

    def error(self, place: str) -> Exception:
        return (UserError if self.user else StageError)(f"{place}: {self.reason}")


def attempted(work: Callable[[], Any]) -> Failure | None:
    """Do the work, in a process of a pool; what goes wrong comes back, and the process stays."""
    try:
        work()
    except Exception as error:
        machine = machine_error(error)
        return Failure(reason_of(machine or error), user=isinstance(error, UserError), machine=machine is not None)
    return None


@dataclass
class _Open(Generic[J]):
    job: J
    losses: int = 0


class Pool(Generic[J]):
    """`start` makes a process (an actor), `send` gives it a job and returns the reference to its Failure or None.

    `room` says how many processes fit now, those that there are among them; `minimum` of them must be there before
    the first job is sent. `what` is the stage, in a word.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        send: Callable[[Any, J], Any],
        room: Callable[[], int],
        minimum: int,
        what: str,
    ) -> None:
        self._start, self._send, self._count, self._minimum, self._what = start, send, room, minimum, what
        self._waiting: deque[_Open[J]] = deque()
        self._starting: dict[Any, Any] = {}
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, _Open[J]]] = {}
        self._begun = False
        self._unstarted = 0
        self._room, self._looked = 0, -LOOK_SECONDS
        self._alive = time.monotonic()

    def add(self, jobs: Iterable[J], *, first: bool = False) -> None:
        """More to do; `first` before what is waiting already."""
        found = [_Open(job) for job in jobs]
        self._waiting = deque([*found, *self._waiting] if first else [*self._waiting, *found])

    def results(self) -> Iterator[tuple[J, Failure | None]]:
        """Each job as it ends, until none is left; more may be added meanwhile.

        Raises StageError where no process can be started.
        """
        while self._waiting or self._running:
            self._grow()
            self._give()
            for reference in self._next():
                if reference in self._starting:
                    self._started(reference)
                else:
                    yield from self._ended(reference)
            self._patience()

    def _next(self) -> list[Any]:
        """Something that has ended, a start or a job; nothing where none does before the room is counted anew."""
        import ray

        asked = [*self._running, *self._starting]
        if not asked:
            time.sleep(LOOK_SECONDS)
            return []
        found: list[Any] = ray.wait(asked, num_returns=1, timeout=LOOK_SECONDS)[0]
        return found

    def close(self) -> None:
        """End every process."""
        import ray

        for actor in (*self._idle, *self._starting.values(), *(actor for actor, _ in self._running.values())):
            ray.kill(actor)

    def _grow(self) -> None:
        """Ask for as many processes as there is room and work for."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._room, self._looked = self._count(), now
        there = len(self._idle) + len(self._running) + len(self._starting)
        for _ in range(min(self._room, len(self._waiting) + len(self._running)) - there):
            actor = self._start()
            self._starting[actor.__ray_ready__.remote()] = actor

    def _give(self) -> None:
        """Send a job to every process that has none."""
        self._begun = self._begun or len(self._idle) >= min(self._minimum, len(self._waiting))
        while self._begun and self._idle and self._waiting:
            actor, task = self._idle.pop(), self._waiting.popleft()
            self._running[self._send(actor, task.job)] = (actor, task)

    def _started(self, reference: Any) -> None:
        import ray

        actor = self._starting.pop(reference)
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            self._unstarted += 1
            if self._unstarted > LOST_PROCESSES:
                raise StageError(f"{self._what}: no process can be started: {last_line(error)}") from error
        else:
            self._unstarted = 0
            self._idle.append(actor)

    def _ended(self, reference: Any) -> Iterator[tuple[J, Failure | None]]:
        import ray

        actor, task = self._running.pop(reference)
        try:
            failure: Failure | None = ray.get(reference)
        except ray.exceptions.RayError as error:
            failure = Failure(f"its process was lost: {last_line(error)}", machine=True)
        if failure is None or not failure.machine:
            self._idle.append(actor)
            yield task.job, failure
            return
        ray.kill(actor)  # on a machine that failed it the next job fares no better
        task.losses += 1
        if task.losses > LOST_PROCESSES:
            yield task.job, failure
        else:
            self._waiting.appendleft(task)

    def _patience(self) -> None:
        if self._idle or self._running:
            self._alive = time.monotonic()
        elif time.monotonic() - self._alive > ROOM_SECONDS:
            raise StageError(
                f"{self._what}: no process found room within {ROOM_SECONDS / 60:g} minutes; `ray status` shows "
                "what is free, and the same command goes on"
            )


@contextmanager
def pool_of(
    process: type,
    arguments: tuple[Any, ...],
    given: PoolResources,
    role: Role,
    *,
    most: int | None,
    jobs: int,
    send: Callable[[Any, J], Any],
) -> Iterator[Pool[J]]:
    """A pool of actors `process(*arguments)` on the connected cluster, for so many jobs, at most `most` at once.

    Raises SettingsError where none ever fits. The processes end with the context.
    """
    import ray

    cluster = current()
    parallel = min(concurrency(cluster, given, most, role), jobs)
    actor = ray.remote(process).options(**options(given))
    with wanted(cluster, [bundle(given)] * parallel):
        pool = Pool(
            lambda: actor.remote(*arguments), send, lambda: room(current(), given, most, role), given.minimum, role
        )
        try:
            yield pool
        finally:
            pool.close()
