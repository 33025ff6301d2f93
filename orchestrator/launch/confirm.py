"""The stage `confirm`: models trained, then tried on missing and damaged input, side by side in processes that are
used again and again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import StageError
from orchestrator.launch.metrics import show_storage
from orchestrator.launch.pool import Failure, attempted, pool_of
from orchestrator.resources import PoolResources, WorkerResources
from trainables.artifacts import RECORD
from trainables.conditions import model_prefix, prefix
from trainables.spec import RunSpec
from trainables.spec.robustness import Condition
from trainables.storage import Storage


class Confirmation(BaseModel):
    """What every job shares."""

    storage: str
    cache: str
    resources: WorkerResources


class Job(BaseModel, ABC):
    """One artifact to be made in a process of its own."""

    model_config = ConfigDict(frozen=True)
    what: ClassVar[str]
    """Several of it, in a word."""

    fingerprint: str

    @property
    @abstractmethod
    def prefix(self) -> str:
        """Where the artifact lies in the storage."""

    @abstractmethod
    def make(self, shared: Confirmation) -> None:
        """Publish it; called in the worker."""


class ModelJob(Job):
    """Train a model, evaluate it, publish it."""

    what = "models"

    run: RunSpec
    transfer_set: str
    mc_passes: int

    @property
    def prefix(self) -> str:
        return model_prefix(self.fingerprint)

    def make(self, shared: Confirmation) -> None:
        from orchestrator.launch.trial import transfer_set
        from trainables.confirm import confirm_model

        confirm_model(
            self.run,
            transfer_set(shared.storage, self.transfer_set, shared.cache),
            Storage(shared.storage),
            self.fingerprint,
            mc_passes=self.mc_passes,
            threads=shared.resources.threads,
            device=shared.resources.device,
        )


class RobustnessJob(Job):
    """Try a confirmed model under every condition of what it reads."""

    what = "evaluations of robustness"

    model: str
    transfer_set: str
    damaged: str | None
    conditions: tuple[Condition, ...]

    @property
    def prefix(self) -> str:
        return prefix(self.fingerprint)

    def make(self, shared: Confirmation) -> None:
        from orchestrator.launch.trial import transfer_set
        from trainables.robustness import evaluate_model

        clean, damaged = (
            None if name is None else transfer_set(shared.storage, name, shared.cache)
            for name in (self.transfer_set, self.damaged)
        )
        assert clean is not None
        record = evaluate_model(
            Storage(shared.storage), self.model, clean, damaged, self.conditions,
            threads=shared.resources.threads, device=shared.resources.device,
        )  # fmt: skip
        if record.fingerprint != self.fingerprint:
            raise StageError(f"{self.prefix}: the evaluation made {record.fingerprint} instead")


J = TypeVar("J", bound=Job)


def run_jobs(
    jobs: Sequence[J],
    *,
    storage: str,
    cache: str,
    resources: PoolResources,
    concurrency: int | None,
    on_done: Callable[[J], None],
) -> None:
    """Make every artifact that has no record; `on_done` is called for each as it is there, old ones first.

    One that fails does not keep the others from being made; then StageError with the first reason.
    """
    root = Storage(storage)
    shared = Confirmation(
        storage=root.root,
        cache=str(Path(cache).expanduser().absolute()),
        resources=WorkerResources.model_validate(resources.model_dump(include=set(WorkerResources.model_fields))),
    )
    missing = []
    for job in jobs:
        if root.exists(f"{job.prefix}/{RECORD}"):
            on_done(job)
        else:
            missing.append(job)
    failures = list[str]()
    with closing(_made(missing, shared, resources, concurrency)) as made:
        for job, failure in made:
            if failure:
                failures.append(f"{job.prefix}: {failure.reason}")
            else:
                on_done(job)
    if failures:
        told = f"{len(failures)} of {len(missing)} {missing[0].what} failed"
        raise StageError(f"{told}; the first: {failures[0]}")


def _made(
    jobs: Sequence[J], shared: Confirmation, resources: PoolResources, most: int | None
) -> Generator[tuple[J, Failure | None]]:
    """Each job as it ends, made or failed."""

    def send(process: Any, job: J) -> Any:
        return process.make.remote(type(job), job.model_dump(mode="json"))

    if not jobs:
        return
    given = (shared.model_dump(mode="json"),)
    with pool_of(_ConfirmActor, given, resources, "confirm", most=most, jobs=len(jobs), send=send) as pool:
        pool.add(jobs)
        yield from pool.results()


class _ConfirmActor:
    """One process of the pool: it imports torch once and maps each transfer set once."""

    def __init__(self, shared: dict[str, Any]) -> None:
        self._shared = Confirmation.model_validate(shared)
        show_storage()

    def make(self, kind: type[Job], job: dict[str, Any]) -> Failure | None:
        return attempted(lambda: kind.model_validate(job).make(self._shared))
