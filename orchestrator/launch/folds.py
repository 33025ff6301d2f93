"""A trial over several folds: one student a fold, one after another, told as one run.

The epochs of fold k, from 0, are told as the steps after k times `training.epochs`, so that a step means the same
fold and epoch in every trial. A fold that ended early is told once more, without a score, at the step where it
would have ended. What is finished is kept in the checkpoint, and a trial that starts again goes on where it stood.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from orchestrator.scores import FOLD, over_folds
from trainables.reporter import Reporter
from trainables.spec import RunSpec

if TYPE_CHECKING:
    from orchestrator.launch.trial import TrialJob, Work

_STATE = "folds.json"


def work_over_folds(
    job: TrialJob, run: RunSpec, number: int, reporter: Reporter, work: Work, *, first: bool = True
) -> dict[str, float]:
    """Do the work of every fold of the run; the values as `over_folds` has them, of one split as they are.

    `first`: whether this is the worker that saves, of those that run the trial together.
    """
    if len(run.folds) == 1:
        return work(job, run, number, reporter)
    with TemporaryDirectory(prefix="orch-folds-") as folder:
        folds = FoldsReporter(reporter, run.training.epochs, Path(folder), saves=first)
        for fold in run.folds[len(folds.finished) :]:
            folds.finish(work(job, run.model_copy(update={"fold": fold}), number, folds))
        return over_folds(folds.finished)


class FoldsReporter:
    """What the training of a fold speaks to; `kept` is an empty folder for the checkpoint of an earlier attempt."""

    def __init__(self, inner: Reporter, epochs: int, kept: Path, *, saves: bool = True) -> None:
        self.finished: list[dict[str, float]] = []
        """The values of each finished fold."""
        self._inner, self._epochs, self._kept, self._saves = inner, epochs, kept, saves
        self._epoch = 0
        """Of the running fold, the last that was told."""
        self._resumable = False
        if inner.restore(kept):
            self._take(json.loads((kept / _STATE).read_text("utf-8")))

    @property
    def fold(self) -> int:
        """The running one."""
        return len(self.finished)

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._epoch = epoch
        self._inner.report(self.fold * self._epochs + epoch, {**metrics, FOLD: float(self.fold)})

    def should_stop(self) -> bool:
        return self._inner.should_stop()

    def stopped(self) -> None:
        self._inner.stopped()

    def save(self, folder: Path) -> None:
        self._save(folder, running=True)

    def restore(self, folder: Path) -> bool:
        """The checkpoint within the fold that was running, once."""
        if not self._resumable:
            return False
        self._resumable = False
        shutil.copytree(self._kept, folder, dirs_exist_ok=True)
        return True

    def finish(self, values: dict[str, float]) -> None:
        """The running fold has ended with these values."""
        if self._epoch < self._epochs:
            end = {FOLD: float(self.fold), "ended_at": float(self._epoch)}
            self._inner.report((self.fold + 1) * self._epochs, end)
        self.finished.append(values)
        self._epoch, self._resumable = 0, False
        if self._saves:
            with TemporaryDirectory(prefix="orch-folds-") as folder:
                self._save(Path(folder), running=False)

    def _save(self, folder: Path, *, running: bool) -> None:
        state = {"finished": self.finished, "epoch": self._epoch, "running": running}
        (folder / _STATE).write_text(json.dumps(state), "utf-8")
        self._inner.save(folder)

    def _take(self, state: dict[str, Any]) -> None:
        self.finished, self._epoch, self._resumable = state["finished"], state["epoch"], state["running"]
        (self._kept / _STATE).unlink()
