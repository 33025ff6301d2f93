"""The stage `harvest`: a pool of processes that each load the teachers once and take one shard after another.

A shard appears in the storage only when it is whole, so a harvest that ended early goes on with those missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.errors import StageError
from orchestrator.experiment import Resources, WorkerResources
from orchestrator.launch.cluster import concurrency, current, last_line
from orchestrator.launch.trial import reason_of
from trainables.artifacts import read_record
from trainables.errors import UserError
from trainables.spec import RunSpec
from trainables.spec.needs import Needs
from trainables.storage import Storage
from trainables.teachers.plan import HarvestPlan

LOST_PROCESSES = 2
Progress = Callable[[int, int, str], None]


def run_harvest(
    run: RunSpec,
    *,
    storage: str,
    corpus: str,
    teachers: Mapping[str, str],
    transfer_set: str,
    needs: Needs,
    resources: Resources,
    on_progress: Progress,
) -> None:
    """Make the transfer set `transfer_set` unless it is there. `on_progress` gets (shards done, shards, note).

    Raises UserError or StageError with the reason of the first shard that failed, once those under way have ended.
    """
    root = Storage(storage)
    plan = HarvestPlan(root, run, corpus, dict(teachers), needs)
    if plan.fingerprint != transfer_set:
        raise StageError(f"the harvest would make transfer set {plan.fingerprint}, not {transfer_set}")
    if read_record(root, plan.prefix) is None:
        _run_shards(plan, resources.harvest, on_progress)


def _run_shards(plan: HarvestPlan, need: WorkerResources, on_progress: Progress) -> None:
    import ray

    began = time.monotonic()
    pending, total = plan.pending(), len(plan.shard_keys())
    parallel = concurrency(current(), need.model_copy(update={"workers": 1}), None, "harvest")
    actor = ray.remote(_HarvestActor).options(
        num_cpus=need.cpus, num_gpus=need.gpus, max_restarts=LOST_PROCESSES, max_task_retries=LOST_PROCESSES
    )
    pool = [actor.remote(plan, need.model_dump()) for _ in range(max(1, min(parallel, len(pending))))]
    done = total - len(pending)
    on_progress(done, total, f"{len(pool)} process(es) load the teachers")
    try:
        for _ in _map(pool, pending):
            done += 1
            on_progress(done, total, "")
        _result(ray.get(pool[0].finish.remote(time.monotonic() - began)))
    except ray.exceptions.RayError as error:
        raise StageError(f"harvest: a process was lost too often: {last_line(error)}") from error
    finally:
        for one in pool:
            ray.kill(one)


def _map(pool: list[Any], pending: list[int]) -> Any:
    """Give each actor its next shard when it has stored one; yields once a shard."""
    import ray

    waiting = list(pending)
    running = {one.shard.remote(waiting.pop(0)): one for one in pool if waiting}
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        one = running.pop(ready)
        _result(ray.get(ready))
        if waiting:
            running[one.shard.remote(waiting.pop(0))] = one
        yield


def _result(failure: dict[str, Any] | None) -> None:
    if failure is not None:
        raise (UserError if failure["user"] else StageError)(f"harvest: {failure['reason']}")


class _HarvestActor:
    """One process of the pool; what goes wrong comes back as its reason."""

    def __init__(self, plan: HarvestPlan, need: dict[str, Any]) -> None:
        self._plan, self._need = plan, WorkerResources.model_validate(need)
        self._harvester: Any = None

    def shard(self, index: int) -> dict[str, Any] | None:
        return self._try(lambda: self._loaded().shard(index))

    def finish(self, seconds: float) -> dict[str, Any] | None:
        from trainables.teachers.finish import finish

        return self._try(lambda: finish(self._plan, seconds))

    def _loaded(self) -> Any:
        """Loaded at the first shard: a failure then has a reason, and not only a dead process."""
        if self._harvester is None:
            import torch

            from trainables.teachers.harvest import Harvester

            torch.set_num_threads(max(1, int(self._need.cpus)))
            self._harvester = Harvester(self._plan, "cuda" if self._need.gpus else "cpu")
        return self._harvester

    def _try(self, work: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            work()
        except Exception as error:
            return {"reason": reason_of(error), "user": isinstance(error, UserError)}
        return None
