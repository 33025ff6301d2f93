"""Transfer sets, clean and damaged: a pool of processes that each load a plan's worker once and take one shard
after another.

A shard appears in the storage only when it is whole, so a harvest that ended early goes on with those missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.errors import StageError
from orchestrator.launch.metrics import show_storage
from orchestrator.launch.pool import Failure, attempted, pool_of
from orchestrator.plan import FoldPlan, harvest_plan
from orchestrator.resources import PoolResources, Resources
from trainables.artifacts import read_record
from trainables.spec.needs import Needs
from trainables.storage import Storage
from trainables.teachers.shards import ShardPlan

Progress = Callable[[int, int, str], None]
Job = tuple[int, int | None]
"""(place of the plan, shard; None: all are there, finish it)"""


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
    pending, total = [plan.pending() for plan in plans], sum(len(plan.shard_keys()) for plan in plans)
    jobs: list[Job] = [(place, shard) for place, shards in enumerate(pending) for shard in shards]
    done, began = total - len(jobs), time.monotonic()
    left = [len(shards) for shards in pending]

    def send(process: Any, job: Job) -> Any:
        place, shard = job
        if shard is None:
            return process.finish.remote(place, time.monotonic() - began)
        return process.shard.remote(place, shard)

    with pool_of(
        _HarvestActor, (plans, need), need, "harvest", most=None, jobs=max(1, len(jobs)), send=send
    ) as pool:
        on_progress(done, total, "loading what is needed")
        pool.add((place, None) for place, count in enumerate(left) if not count)
        pool.add(jobs)
        for (place, shard), failure in pool.results():
            if failure:
                raise failure.error("harvest")
            if shard is None:
                began = time.monotonic()
                continue
            done, left[place] = done + 1, left[place] - 1
            on_progress(done, total, f"fold {place + 1}/{len(plans)}" if len(plans) > 1 else "")
            if not left[place]:
                pool.add([(place, None)], first=True)


class _HarvestActor:
    """One process of the pool."""

    def __init__(self, plans: list[ShardPlan], need: PoolResources) -> None:
        self._plans, self._need = plans, need
        self._worker: Any = None
        self._place = -1
        """Of the plan whose worker is loaded."""
        show_storage()

    def shard(self, place: int, index: int) -> Failure | None:
        return attempted(lambda: self._loaded(place).shard(index))

    def finish(self, place: int, seconds: float) -> Failure | None:
        return attempted(lambda: self._plans[place].finish(seconds))

    def _loaded(self, place: int) -> Any:
        """Loaded at the first shard of a plan: a failure then has a reason, and not only a dead process."""
        if self._place != place:
            import torch

            torch.set_num_threads(self._need.threads)
            self._worker = None  # the teachers of the fold before go before those of this one come
            self._worker = self._plans[place].worker(self._need.device)
            self._place = place
        return self._worker
