"""A group of workers under Ray Train, driven from here: messages come back while it runs, and its end always comes.

A group that lost a worker, or whose machine failed one, is started again, and what the workers do goes on from
their own checkpoints. Our own other errors are the same at every attempt and end the work at once.

A group's reservation outlives a controller that is killed, so whoever ends the group gives back what its
controller has reserved (`orchestrator.launch.trainer`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from orchestrator.errors import StageError
from orchestrator.launch.error_lines import last_line
from orchestrator.launch.notice import NOTICE
from orchestrator.launch.ray_folder import ray_folder
from orchestrator.launch.trainer import GroupResources, end_controller, release, trainer
from trainables.errors import MachineError, OrchError, PreemptedError, UserError

LOST_WORKERS = 2
"""How often in a row a group that lost a worker is started again without having told anything new."""
POLL_SECONDS = 0.5
ROOM_SECONDS = 1800.0
"""How long the first worker of an attempt may keep one waiting."""
END_SECONDS = 30.0

Message = dict[str, Any]
Tell = Callable[[Message], None]
GroupWork = Callable[[Any, int, Tell], None]
"""What every worker runs: (task, rank, tell). Only what rank 0 tells is told."""


def run_group(
    work: GroupWork,
    task: Any,
    need: GroupResources,
    on_message: Callable[[Message], None],
    on_group: Callable[[str], None] | None = None,
    *,
    lost: int = LOST_WORKERS,
) -> None:
    """Run `work` on the workers of `need` and pass on what rank 0 tells, in order, until all have ended.

    `on_group` gets what `release` needs to know of each attempt before anything is reserved, for a caller that may
    not live to see the end. A group that was lost is started again `lost` times, and as often as its machine was
    taken away with notice.
    Raises UserError or StageError with the reason where a worker failed, or MachineError where the group was lost
    too often, or found no room (with `lost` 0 PreemptedError where it had notice).
    """
    heard = _Heard(on_message, on_group)
    while True:
        failure = _fit({"work": work, "task": task}, need, heard)
        if failure is None or heard.done:  # what is lost after the work's end is no loss
            return
        preempted = _preempted(failure)
        heard.losses += not preempted
        if heard.losses > lost or (preempted and not lost):
            kind = PreemptedError if preempted else MachineError
            raise kind(_reason(failure)) from failure


class _Heard:
    """What the workers and controllers of all attempts have told."""

    def __init__(self, on_message: Callable[[Message], None], on_group: Callable[[str], None] | None) -> None:
        self._on_message, self._on_group = on_message, on_group
        self._told: set[str] = set()
        self.controllers: dict[str, Any] = {}
        """By what `release` knows them by."""
        self.started = False
        """Whether a worker of the last attempt has begun."""
        self.done = False
        self.losses = 0
        """Attempts that were lost since something new was told."""

    def take(self, message: Message) -> None:
        if "group" in message:
            self.controllers[message["group"]] = message["controller"]
            if self._on_group:
                self._on_group(message["group"])
        elif "begun" in message:
            self.started = True
        elif "done" in message:
            self.done = True
        elif "error" in message:
            raise (UserError if message["user"] else StageError)(message["error"])
        else:
            self._on_message(message)
            text = repr(message)  # what was told before a loss is told again after it
            if text not in self._told:
                self._told.add(text)
                self.losses = 0


def _fit(config: dict[str, Any], need: GroupResources, heard: _Heard) -> BaseException | None:
    """Ray Train in a thread of its own, its messages in this one; returns how it failed, and leaves nothing."""
    failure: list[BaseException] = []
    queue = _queue()
    with ray_folder("orch-train-") as folder:
        train = trainer(_worker, {**config, "queue": queue}, need, folder)

        def fit() -> None:
            try:
                train.fit()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        try:
            _listen(queue, thread, need, heard)
        finally:
            for controller in heard.controllers.values():
                end_controller(controller)
            thread.join(END_SECONDS)
            for group in heard.controllers:
                release(group)
            heard.controllers.clear()
            queue.shutdown(force=True)
    return failure[0] if failure else None


def _queue() -> Any:
    """On this node: lost with this process, and not with some other machine."""
    import ray
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def _listen(queue: Any, thread: threading.Thread, need: GroupResources, heard: _Heard) -> None:
    """Pass on what is told until the thread has ended and all is told."""
    from ray.util.queue import Empty

    heard.started, began = False, time.monotonic()
    while True:
        alive = thread.is_alive()
        try:
            heard.take(queue.get(timeout=POLL_SECONDS if alive else 0.1))
        except Empty:
            if not alive:
                return
        if not heard.started and time.monotonic() - began > ROOM_SECONDS:
            raise MachineError(
                f"{need.workers} worker(s) of {need.cpus:g} CPUs and {need.gpus:g} GPUs found no room within "
                f"{ROOM_SECONDS / 60:g} minutes; `ray status` shows what is free"
            )


def _worker(config: dict[str, Any]) -> None:
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    tell = config["queue"].put

    def say(message: Message) -> None:
        if rank == 0:
            tell(message)

    say({"begun": True})
    try:
        with NOTICE.working():
            config["work"](config["task"], rank, say)
        say({"done": True})
    except MachineError:
        raise  # the group is started again
    except OrchError as error:
        # Every rank says so: the others may be waiting for this one.
        tell({"error": str(error), "user": isinstance(error, UserError)})


def _preempted(error: BaseException) -> bool:
    """Whether a worker ended because its machine is taken away, with a checkpoint or with its node."""
    failures = (getattr(error, "worker_failures", None) or {}).values()
    return any(isinstance(one, PreemptedError) or getattr(one, "preempted", False) for one in failures)


def _reason(error: BaseException) -> str:
    """The first worker's failure in a line, else Ray's own."""
    failures = getattr(error, "worker_failures", None) or {}
    for rank in sorted(failures):
        return f"worker {rank}: {last_line(failures[rank])}"
    return last_line(error)


__all__ = ["LOST_WORKERS", "GroupResources", "GroupWork", "Message", "Tell", "release", "run_group"]
