"""The stage `teach`: one group of workers fine-tunes every missing teacher of every fold, one after another.

Starting a group costs some twenty seconds, so it is done once. A teacher is published as soon as it is ready, and
an unfinished one goes on from its last epoch, after a lost worker as after a lost driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel, ConfigDict

from orchestrator.events import Report
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.metrics import show_storage
from orchestrator.launch.notice import NOTICE
from orchestrator.launch.placement import concurrency, current
from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from orchestrator.plan import FoldPlan
from orchestrator.resources import Resources, TeacherResources
from trainables.artifacts import read_record
from trainables.spec import TeacherName
from trainables.storage import Storage
from trainables.teachers.identity import prefix

Progress = Callable[[int, int, str], None]
UNFINISHED = "unfinished/teachers"


class Missing(BaseModel):
    """A teacher to be made."""

    model_config = ConfigDict(frozen=True)

    fold: int
    """Its place among the folds of the task."""
    name: TeacherName


class TeachTask(BaseModel):
    """What every worker of the group is given."""

    storage: str
    corpus: str
    folds: list[FoldPlan]
    missing: list[Missing]
    """Fold by fold, each teacher after those that it reads."""
    resources: TeacherResources
    microbatch: int

    def fingerprint(self, one: Missing) -> str:
        return self.folds[one.fold].teachers[one.name]

    def epochs(self, one: Missing) -> int:
        return int(getattr(self.folds[one.fold].run.teachers, one.name).training.epochs)


def run_teach(
    folds: Sequence[FoldPlan], *, storage: str, corpus: str, resources: Resources, on_progress: Progress
) -> None:
    """Fine-tune and publish every teacher without a record. `on_progress` gets (epochs done, epochs, note)."""
    root = Storage(storage)
    missing = [
        Missing(fold=place, name=name)
        for place, fold in enumerate(folds)
        for name in fold.run.teachers.names
        if name in fold.teachers and read_record(root, prefix(fold.teachers[name])) is None
    ]
    if not missing:
        return
    concurrency(current(), resources.teacher, 1, "teacher")
    task = TeachTask(
        storage=root.root,
        corpus=corpus,
        folds=list(folds),
        missing=missing,
        resources=resources.teacher,
        microbatch=resources.microbatch,
    )
    total = sum(map(task.epochs, missing))

    def pass_on(message: Message) -> None:
        before = sum(task.epochs(one) for one in missing[: message["index"]])
        on_progress(before + message["epoch"], total, message["note"])

    on_progress(0, total, f"starting {_told(resources.teacher)}")
    run_group(teach_worker, task.model_dump(mode="json"), resources.teacher, pass_on)


def teach_worker(task_: dict[str, Any], rank: int, tell: Tell) -> None:
    """What every worker runs: each missing teacher in turn, together."""
    import torch

    task = TeachTask.model_validate(task_)
    torch.set_num_threads(task.resources.threads)
    show_storage()
    storage = Storage(task.storage)
    for index, one in enumerate(task.missing):
        # A group started again finds the teachers of its first attempt published.
        if read_record(storage, prefix(task.fingerprint(one))) is None:
            _teach_one(task, index, storage, rank, tell)


def _teach_one(task: TeachTask, index: int, storage: Storage, rank: int, tell: Tell) -> None:
    from trainables.teachers.identity import TeacherReads, publish_teacher
    from trainables.teachers.tuning import fine_tune

    one = task.missing[index]
    name, fold = one.name, task.folds[one.fold]
    where = f"fold {one.fold + 1}/{len(task.folds)}, " if len(task.folds) > 1 else ""

    def told(reports: list[Report]) -> None:
        last = reports[-1]
        score = last.metrics.get("dev/weighted_f1", 0.0)
        note = f"{where}{name} teacher, epoch {last.epoch}: dev weighted F1 {score:.3f}"
        tell({"index": index, "epoch": last.epoch, "note": note})

    checkpoints = Checkpoints(storage, f"{UNFINISHED}/{task.fingerprint(one)}")
    reporter = StoredReporter(told if rank == 0 else silent, checkpoints, NOTICE.given)
    reads = TeacherReads(task.corpus, {str(key): value for key, value in fold.teachers.items()})
    began = time.monotonic()
    with TemporaryDirectory(prefix="orch-teacher-") as folder:
        metrics = fine_tune(
            name, fold.run, storage, reads, Path(folder), reporter, task.resources.device, task.microbatch
        )
        if rank == 0:
            seconds = time.monotonic() - began
            publish_teacher(storage, name, fold.run, reads, Path(folder), metrics=metrics, seconds=seconds)
            checkpoints.remove()
    _wait_for_all()


def _told(resources: TeacherResources) -> str:
    if resources.fewest < resources.workers:
        return f"{resources.fewest} to {resources.workers} workers"
    return f"{resources.workers} worker(s)"


def _wait_for_all() -> None:
    """The next teacher may read the one just published."""
    from trainables.teachers.distributed import barrier

    barrier()
