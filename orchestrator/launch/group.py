"""A group of workers under Ray Train, driven from here: messages come back while it runs, and its end always comes.

A group that lost a worker is started again, and what the workers do goes on from their own checkpoints. Our own
errors are the same at every attempt and end the work at once.

A group's reservation outlives a controller that is killed. Ray's own cleaner asks the dashboard whether it is, and
cleans nothing where that has no answer (no dashboard, or a second Ray on the machine). So the first worker tells
which placement group it sits in, and whoever ends the group gives that back. Ray Train itself tries nothing twice:
it would take a group that was given back for a lost one, and reserve another.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.errors import StageError
from orchestrator.launch.error_lines import last_line
from orchestrator.resources import TeacherResources, TrialResources
from trainables.errors import OrchError, UserError

LOST_WORKERS = 2
"""How often a group that lost a worker is started again."""
COLLECTIVE_SECONDS = 600
POLL_SECONDS = 0.5

Message = dict[str, Any]
Tell = Callable[[Message], None]
GroupResources = TeacherResources | TrialResources
GroupWork = Callable[[Any, int, Tell], None]
"""What every worker runs: (task, rank, tell). Only what rank 0 tells is told."""


def run_group(
    work: GroupWork,
    task: Any,
    need: GroupResources,
    on_message: Callable[[Message], None],
    on_group: Callable[[str], None] | None = None,
) -> None:
    """Run `work` on `need.workers` workers and pass on what rank 0 tells, in order, until all have ended.

    `on_group` gets the placement group of each attempt, for a caller that may not live to see the end.
    Raises UserError or StageError with the reason where a worker failed, or where the group was lost too often.
    """
    from ray.util.queue import Queue

    groups: list[str] = []
    done = False

    def take(message: Message) -> None:
        nonlocal done
        if "group" in message:
            if message["group"] not in groups:
                groups.append(message["group"])
                if on_group:
                    on_group(message["group"])
        elif "done" in message:
            done = True
        elif "error" in message:
            raise (UserError if message["user"] else StageError)(message["error"])
        else:
            on_message(message)

    for attempt in range(LOST_WORKERS + 1):
        queue = Queue(actor_options={"num_cpus": 0})
        try:
            failure = _fit({"work": work, "task": task, "queue": queue}, need, take)
        finally:
            queue.shutdown(force=True)
            for group in groups:
                release(group)
        if failure is None or done:  # what is lost after the work's end is no loss
            return
        if attempt == LOST_WORKERS:
            raise StageError(_reason(failure)) from failure


def release(group: str) -> None:
    """Give a placement group back, with whatever still runs in it; one that is gone is no error."""
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(group)))


def _fit(config: dict[str, Any], need: GroupResources, take: Callable[[Message], None]) -> BaseException | None:
    """Ray Train in a thread of its own, its messages in this one; returns how it failed."""
    from ray.util.queue import Empty

    failure: list[BaseException] = []
    with TemporaryDirectory(prefix="orch-train-", ignore_cleanup_errors=True) as folder:
        trainer = _trainer(config, need, folder)

        def fit() -> None:
            try:
                trainer.fit()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        while True:
            alive = thread.is_alive()
            try:
                take(config["queue"].get(timeout=POLL_SECONDS if alive else 0.1))
            except Empty:
                if not alive:
                    break
    return failure[0] if failure else None


def _trainer(config: dict[str, Any], need: GroupResources, folder: str) -> Any:
    import ray.train
    from ray.train.torch import TorchConfig, TorchTrainer

    return TorchTrainer(
        _worker,
        train_loop_config=config,
        torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
        scaling_config=ray.train.ScalingConfig(
            num_workers=need.workers,
            use_gpu=need.gpus > 0,
            resources_per_worker={"CPU": need.cpus, **({"GPU": need.gpus} if need.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name=f"group-{uuid.uuid4().hex[:8]}",
            storage_path=folder,
            failure_config=ray.train.FailureConfig(
                max_failures=0, controller_failure_limit=0, max_preemption_failures=0
            ),
        ),
    )


def _worker(config: dict[str, Any]) -> None:
    import ray.train
    import ray.util

    rank = ray.train.get_context().get_world_rank()
    tell = config["queue"].put
    # Every rank says where it is: one that is lost at once may be the only one that had not.
    tell({"group": ray.util.get_current_placement_group().id.hex()})

    def say(message: Message) -> None:
        if rank == 0:
            tell(message)

    try:
        config["work"](config["task"], rank, say)
        say({"done": True})
    except OrchError as error:
        # Every rank says so: the others may be waiting for this one.
        tell({"error": str(error), "user": isinstance(error, UserError)})


def _reason(error: BaseException) -> str:
    """The first worker's failure in a line, else Ray's own."""
    failures = getattr(error, "worker_failures", None) or {}
    for rank in sorted(failures):
        return f"worker {rank}: {last_line(failures[rank])}"
    return last_line(error)
