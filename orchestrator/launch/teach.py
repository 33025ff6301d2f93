"""The stage `teach`: one group of workers fine-tunes every teacher that is missing, one after another.

Starting a group costs some twenty seconds, so it is done once. A teacher is published as soon as it is ready, and
an unfinished one goes on from its last epoch, after a lost worker as after a lost driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from orchestrator.events import Report
from orchestrator.experiment import Resources, WorkerResources
from orchestrator.launch.cluster import concurrency, current
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from trainables.artifacts import read_record
from trainables.spec import RunSpec, TeacherName
from trainables.storage import Storage
from trainables.teachers.identity import prefix

Progress = Callable[[int, int, str], None]
UNFINISHED = "unfinished/teachers"


class TeachTask(BaseModel):
    """What every worker of the group is given."""

    run: RunSpec
    storage: str
    corpus: str
    fingerprints: dict[TeacherName, str]
    """Of every teacher of the run."""
    missing: list[TeacherName]
    """Those to be made, each after those that it reads."""
    resources: WorkerResources
    microbatch: int


Teach = Callable[[TeachTask, TeacherName, Any, Path], dict[str, Any]]
"""Fine-tunes one teacher into a folder: (task, name, reporter, folder) -> what its record says of it."""


def run_teach(
    run: RunSpec,
    *,
    storage: str,
    corpus: str,
    fingerprints: dict[TeacherName, str],
    resources: Resources,
    on_progress: Progress,
) -> None:
    """Fine-tune and publish every teacher without a record. `on_progress` gets (epochs done, epochs, note)."""
    root = Storage(storage)
    missing = [
        n for n in run.teachers.names if n in fingerprints and read_record(root, prefix(fingerprints[n])) is None
    ]
    if not missing:
        return
    concurrency(current(), resources.teacher, 1, "teacher")
    task = TeachTask(
        run=run,
        storage=root.root,
        corpus=corpus,
        fingerprints=fingerprints,
        missing=missing,
        resources=resources.teacher,
        microbatch=resources.microbatch,
    )
    epochs = {name: int(getattr(run.teachers, name).training.epochs) for name in missing}

    def pass_on(message: Message) -> None:
        before = sum(epochs[name] for name in missing[: missing.index(message["teacher"])])
        on_progress(before + message["epoch"], sum(epochs.values()), message["note"])

    on_progress(0, sum(epochs.values()), f"starting {resources.teacher.workers} worker(s)")
    run_group(teach_worker, task.model_dump(mode="json"), resources.teacher, pass_on)


def teach_worker(task_: dict[str, Any], rank: int, tell: Tell) -> None:
    """What every worker runs: each missing teacher in turn, together."""
    import torch

    task = TeachTask.model_validate(task_)
    torch.set_num_threads(max(1, int(task.resources.cpus)))
    storage = Storage(task.storage)
    for name in task.missing:
        # A group started again finds the teachers of its first attempt published.
        if read_record(storage, prefix(task.fingerprints[name])) is None:
            _teach_one(task, name, storage, rank, tell)


def _teach_one(task: TeachTask, name: TeacherName, storage: Storage, rank: int, tell: Tell) -> None:
    from trainables.teachers.identity import TeacherReads, publish_teacher
    from trainables.teachers.tuning import fine_tune

    def told(reports: list[Report]) -> None:
        last = reports[-1]
        score = last.metrics.get("dev/weighted_f1", 0.0)
        note = f"{name} teacher, epoch {last.epoch}: dev weighted F1 {score:.3f}"
        tell({"teacher": name, "epoch": last.epoch, "note": note})

    checkpoints = Checkpoints(storage, f"{UNFINISHED}/{task.fingerprints[name]}")
    reporter = StoredReporter(told if rank == 0 else silent, checkpoints)
    reads = TeacherReads(task.corpus, {str(key): value for key, value in task.fingerprints.items()})
    began = time.monotonic()
    with TemporaryDirectory(prefix="orch-teacher-") as folder:
        device = _device(task.resources)
        metrics = fine_tune(name, task.run, storage, reads, Path(folder), reporter, device, task.microbatch)
        if rank == 0:
            seconds = time.monotonic() - began
            publish_teacher(storage, name, task.run, reads, Path(folder), metrics=metrics, seconds=seconds)
            checkpoints.remove()
    _wait_for_all()


def _device(resources: WorkerResources) -> str:
    return "cuda" if resources.gpus else "cpu"


def _wait_for_all() -> None:
    """The next teacher may read the one just published."""
    from trainables.teachers.distributed import barrier

    barrier()
