"""The stage `confirm`: final models trained side by side in processes that are used again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from orchestrator.errors import StageError
from orchestrator.experiment import WorkerResources
from orchestrator.launch.cluster import concurrency, current, last_line
from trainables.artifacts import RECORD
from trainables.spec import RunSpec
from trainables.storage import Storage

LOST_PROCESSES = 2


@dataclass(frozen=True)
class ModelJob:
    fingerprint: str
    run: RunSpec
    transfer_set: str


class Confirmation(BaseModel):
    """What every job shares."""

    storage: str
    cache: str
    mc_passes: int
    resources: WorkerResources


Confirm = Callable[[Confirmation, ModelJob], None]
"""Trains, evaluates and publishes one model."""


def confirm_student(shared: Confirmation, job: ModelJob) -> None:
    from orchestrator.launch.trial import transfer_set
    from trainables.confirm import confirm_model

    confirm_model(
        job.run,
        transfer_set(shared.storage, job.transfer_set, shared.cache),
        Storage(shared.storage),
        job.fingerprint,
        mc_passes=shared.mc_passes,
        threads=max(1, int(shared.resources.cpus)),
        device="cuda" if shared.resources.gpus else "cpu",
    )


def run_models(
    jobs: Sequence[ModelJob],
    *,
    storage: str,
    cache: str,
    mc_passes: int,
    resources: WorkerResources,
    concurrency: int | None,
    on_done: Callable[[ModelJob], None],
    confirm: Confirm = confirm_student,
) -> None:
    """Make every model that has no record; `on_done` is called for each as it is there, old ones first.

    A model that fails does not keep the others from being made; then StageError with the first reason. A model
    is one worker's work: `resources.workers` must be 1.
    """
    root = Storage(storage)
    shared = Confirmation(
        storage=root.root,
        cache=str(Path(cache).expanduser().absolute()),
        mc_passes=mc_passes,
        resources=resources.model_copy(update={"workers": 1}),
    )
    missing = []
    for job in jobs:
        if root.exists(f"models/{job.fingerprint}/{RECORD}"):
            on_done(job)
        else:
            missing.append(job)
    if missing:
        parallel = _parallel(shared.resources, concurrency)
        failures = _run_all(missing, shared, parallel, on_done, confirm)
        if failures:
            raise StageError(f"{len(failures)} of {len(missing)} models failed; the first: {failures[0]}")


def _run_all(
    jobs: Sequence[ModelJob],
    shared: Confirmation,
    parallel: int,
    on_done: Callable[[ModelJob], None],
    confirm: Confirm,
) -> list[str]:
    """Tasks of one shape, so that Ray gives them the processes of those before; returns the reasons of failures."""
    import ray

    task = ray.remote(
        num_cpus=shared.resources.cpus,
        num_gpus=shared.resources.gpus,
        max_retries=LOST_PROCESSES,
        retry_exceptions=False,
    )(_confirm)
    waiting, failures = list(jobs), list[str]()
    running: dict[Any, ModelJob] = {}
    while waiting or running:
        while waiting and len(running) < parallel:
            job = waiting.pop(0)
            running[task.remote(shared.model_dump(mode="json"), _sent(job), confirm)] = job
        for reference in ray.wait(list(running), num_returns=1)[0]:
            job = running.pop(reference)
            try:
                reason = ray.get(reference)
            except ray.exceptions.RayError as error:
                reason = last_line(error)
            if reason:
                failures.append(f"models/{job.fingerprint}: {reason}")
            else:
                on_done(job)
    return failures


def _sent(job: ModelJob) -> dict[str, Any]:
    return {**vars(job), "run": job.run.model_dump(mode="json")}


def _confirm(shared: dict[str, Any], job: dict[str, Any], confirm: Confirm) -> str:
    """In the worker; an error comes back as its reason, and the process stays."""
    from orchestrator.launch.trial import reason_of

    try:
        run = RunSpec.model_validate(job["run"])
        confirm(Confirmation.model_validate(shared), ModelJob(**{**job, "run": run}))
    except Exception as error:
        return reason_of(error)
    return ""


def _parallel(resources: WorkerResources, wanted: int | None) -> int:
    return concurrency(current(), resources, wanted, "confirm")
