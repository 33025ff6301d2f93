"""Transfer sets, clean and damaged: a pool of processes that each load a plan's worker once and take one shard
after another.

A shard appears in the storage only when it is whole, so a harvest that ended early goes on with those missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from orchestrator.errors import StageError
from orchestrator.launch.error_lines import last_line
from orchestrator.launch.placement import concurrency, current
from orchestrator.launch.trial import reason_of
from orchestrator.plan import FoldPlan, harvest_plan
from orchestrator.resources import PoolResources, Resources
from trainables.artifacts import read_record
from trainables.errors import UserError
from trainables.spec.needs import Needs
from trainables.storage import Storage
from trainables.teachers.shards import ShardPlan

LOST_PROCESSES = 2
Progress = Callable[[int, int, str], None]
Job = tuple[int, int]
"""(place of the plan, shard)"""


def run_harvest(
    folds: Sequence[FoldPlan],
    *,
    storage: str,
    corpus: str,
    needs: Needs,
    resources: Resources,
    on_progress: Progress,
) -> None:
    """Make every fold's transfer set that is not there. `on_progress` gets (shards done, shards, note).

    Raises UserError or StageError with the reason of the first shard that failed, once those under way have ended.
    """
    root = Storage(storage)
    plans = [harvest_plan(root, fold, corpus, needs) for fold in folds]
    for plan, fold in zip(plans, folds, strict=True):
        if plan.fingerprint != fold.transfer_set:
            raise StageError(f"the harvest would make transfer set {plan.fingerprint}, not {fold.transfer_set}")
    run_shards(plans, resources.harvest, on_progress)


def run_shards(plans: Sequence[ShardPlan], need: PoolResources, on_progress: Progress) -> None:
    """Every pending shard of every plan without a record by one pool, plan after plan; each plan is finished with
    its last shard. Progress and errors as in `run_harvest`."""
    left = [plan for plan in plans if read_record(plan.storage, plan.prefix) is None]
    if left:
        _run_shards(left, need, on_progress)


def _run_shards(plans: list[ShardPlan], need: PoolResources, on_progress: Progress) -> None:
    import ray

    pending, total = [plan.pending() for plan in plans], sum(len(plan.shard_keys()) for plan in plans)
    jobs = [(place, shard) for place, shards in enumerate(pending) for shard in shards]
    parallel = concurrency(current(), need, None, "harvest")
    actor = ray.remote(_HarvestActor).options(
        num_cpus=need.cpus, num_gpus=need.gpus, max_restarts=LOST_PROCESSES, max_task_retries=LOST_PROCESSES
    )
    pool = [actor.remote(plans, need.model_dump()) for _ in range(max(1, min(parallel, len(jobs))))]
    done = total - len(jobs)
    on_progress(done, total, f"{len(pool)} process(es) load what they need")
    began, left = time.monotonic(), [len(shards) for shards in pending]

    def finish(place: int) -> None:
        nonlocal began
        _result(ray.get(pool[0].finish.remote(place, time.monotonic() - began)))
        began = time.monotonic()

    try:
        for place in [place for place, count in enumerate(left) if not count]:
            finish(place)
        for place, _ in _map(pool, jobs):
            done, left[place] = done + 1, left[place] - 1
            on_progress(done, total, f"fold {place + 1}/{len(plans)}" if len(plans) > 1 else "")
            if not left[place]:
                finish(place)
    except ray.exceptions.RayError as error:
        raise StageError(f"harvest: a process was lost too often: {last_line(error)}") from error
    finally:
        for one in pool:
            ray.kill(one)


def _map(pool: list[Any], jobs: list[Job]) -> Iterator[Job]:
    """Give each actor its next shard when it has stored one; yields each that is stored."""
    import ray

    waiting = list(jobs)
    running: dict[Any, tuple[Any, Job]] = {}

    def send(one: Any) -> None:
        if waiting:
            job = waiting.pop(0)
            running[one.shard.remote(*job)] = (one, job)

    for one in pool:
        send(one)
    while running:
        (ready,), _ = ray.wait(list(running), num_returns=1)
        one, job = running.pop(ready)
        _result(ray.get(ready))
        send(one)
        yield job


def _result(failure: dict[str, Any] | None) -> None:
    if failure is not None:
        raise (UserError if failure["user"] else StageError)(f"harvest: {failure['reason']}")


class _HarvestActor:
    """One process of the pool; what goes wrong comes back as its reason."""

    def __init__(self, plans: list[ShardPlan], need: dict[str, Any]) -> None:
        self._plans, self._need = plans, PoolResources.model_validate(need)
        self._worker: Any = None
        self._place = -1
        """Of the plan whose worker is loaded."""

    def shard(self, place: int, index: int) -> dict[str, Any] | None:
        return self._try(lambda: self._loaded(place).shard(index))

    def finish(self, place: int, seconds: float) -> dict[str, Any] | None:
        return self._try(lambda: self._plans[place].finish(seconds))

    def _loaded(self, place: int) -> Any:
        """Loaded at the first shard of a plan: a failure then has a reason, and not only a dead process."""
        if self._place != place:
            import torch

            torch.set_num_threads(max(1, int(self._need.cpus)))
            self._worker = None  # the teachers of the fold before go before those of this one come
            self._worker = self._plans[place].worker("cuda" if self._need.gpus else "cpu")
            self._place = place
        return self._worker

    def _try(self, work: Callable[[], Any]) -> dict[str, Any] | None:
        try:
            work()
        except Exception as error:
            return {"reason": reason_of(error), "user": isinstance(error, UserError)}
        return None
