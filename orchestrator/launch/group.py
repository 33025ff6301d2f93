"""A group of workers under Ray Train, driven from here: messages come back while it runs, and its end always comes.

Ray Train restarts the group when a worker is lost; what the workers do goes on from their own checkpoints. Our own
errors are the same at every attempt and end the work at once.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.errors import StageError
from orchestrator.experiment import WorkerResources
from orchestrator.launch.cluster import last_line
from trainables.errors import OrchError, UserError

LOST_WORKERS = 2
"""How often a group that lost a worker is started again."""
START_FAILURES = 2
COLLECTIVE_SECONDS = 600
POLL_SECONDS = 0.5

Message = dict[str, Any]
Tell = Callable[[Message], None]
GroupWork = Callable[[Any, int, Tell], None]
"""What every worker runs: (task, rank, tell). Only what rank 0 tells is told."""


def run_group(work: GroupWork, task: Any, need: WorkerResources, on_message: Callable[[Message], None]) -> None:
    """Run `work` on `need.workers` workers and pass on what rank 0 tells, in order, until all have ended.

    Raises UserError or StageError with the reason where a worker failed, or where the group was lost too often.
    """
    from ray.util.queue import Empty, Queue

    queue = Queue(actor_options={"num_cpus": 0})
    failure: list[BaseException] = []
    with TemporaryDirectory(prefix="orch-train-", ignore_cleanup_errors=True) as folder:
        trainer = _trainer({"work": work, "task": task, "queue": queue}, need, folder)

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
                _pass_on(queue.get(timeout=POLL_SECONDS if alive else 0.1), on_message)
            except Empty:
                if not alive:
                    break
    queue.shutdown(force=True)
    if failure:
        raise StageError(_reason(failure[0])) from failure[0]


def _pass_on(message: Message, on_message: Callable[[Message], None]) -> None:
    if "error" in message:
        raise (UserError if message["user"] else StageError)(message["error"])
    on_message(message)


def _trainer(config: dict[str, Any], need: WorkerResources, folder: str) -> Any:
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
                max_failures=LOST_WORKERS, controller_failure_limit=START_FAILURES
            ),
        ),
    )


def _worker(config: dict[str, Any]) -> None:
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    tell = config["queue"].put

    def say(message: Message) -> None:
        if rank == 0:
            tell(message)

    try:
        config["work"](config["task"], rank, say)
    except OrchError as error:
        # Every rank says so: the others may be waiting for this one.
        tell({"error": str(error), "user": isinstance(error, UserError)})


def _reason(error: BaseException) -> str:
    """The first worker's failure in a line, else Ray's own."""
    failures = getattr(error, "worker_failures", None) or {}
    for rank in sorted(failures):
        return f"worker {rank}: {last_line(failures[rank])}"
    return last_line(error)
