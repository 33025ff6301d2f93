"""The stage `confirm`: models trained, then tried on missing and damaged input, side by side in processes that are
used again and again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from orchestrator.errors import StageError
from orchestrator.launch.error_lines import last_line
from orchestrator.launch.placement import concurrency, current
from orchestrator.resources import PoolResources, WorkerResources
from trainables.artifacts import RECORD
from trainables.conditions import model_prefix, prefix
from trainables.spec import RunSpec
from trainables.spec.robustness import Condition
from trainables.storage import Storage

LOST_PROCESSES = 2


class Confirmation(BaseModel):
    """What every job shares."""

    storage: str
    cache: str
    resources: WorkerResources

    @property
    def threads(self) -> int:
        return max(1, int(self.resources.cpus))

    @property
    def device(self) -> str:
        return "cuda" if self.resources.gpus else "cpu"


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
            threads=shared.threads,
            device=shared.device,
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
            threads=shared.threads, device=shared.device,
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
    if missing:
        failures = _run_all(missing, shared, _parallel(resources, concurrency), on_done)
        if failures:
            told = f"{len(failures)} of {len(missing)} {missing[0].what} failed"
            raise StageError(f"{told}; the first: {failures[0]}")


def _run_all(jobs: Sequence[J], shared: Confirmation, parallel: int, on_done: Callable[[J], None]) -> list[str]:
    """Tasks of one shape, so that Ray gives them the processes of those before; returns the reasons of failures."""
    import ray

    task = ray.remote(
        num_cpus=shared.resources.cpus,
        num_gpus=shared.resources.gpus,
        max_retries=LOST_PROCESSES,
        retry_exceptions=False,
    )(_make)
    waiting, failures = list(jobs), list[str]()
    running: dict[Any, J] = {}
    while waiting or running:
        while waiting and len(running) < parallel:
            job = waiting.pop(0)
            reference = task.remote(shared.model_dump(mode="json"), type(job), job.model_dump(mode="json"))
            running[reference] = job
        for reference in ray.wait(list(running), num_returns=1)[0]:
            job = running.pop(reference)
            try:
                reason = ray.get(reference)
            except ray.exceptions.RayError as error:
                reason = last_line(error)
            if reason:
                failures.append(f"{job.prefix}: {reason}")
            else:
                on_done(job)
    return failures


def _make(shared: dict[str, Any], kind: type[Job], job: dict[str, Any]) -> str:
    """In the worker; an error comes back as its reason, and the process stays."""
    from orchestrator.launch.trial import reason_of

    try:
        kind.model_validate(job).make(Confirmation.model_validate(shared))
    except Exception as error:
        return reason_of(error)
    return ""


def _parallel(resources: PoolResources, wanted: int | None) -> int:
    return concurrency(current(), resources, wanted, "confirm")
