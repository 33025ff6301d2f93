"""A trial without a student: scores by formula, in no time, for tests of what runs trials."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.experiment import ExperimentSpec, validated
from orchestrator.launch.trial import TrialJob
from tests.helpers.machine_faults import machine_fault
from trainables.errors import DivergedError
from trainables.reporter import Reporter
from trainables.spec import RunSpec

SPACE: dict[str, Any] = {
    "training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "student.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "method.phases": {"type": "choice", "values": ["two_phase", "joint"]},
    "method.phase_one": {"type": "float", "low": 0.1, "high": 0.2, "when": {"method.phases": "two_phase"}},
}


def experiment(**search: Any) -> ExperimentSpec:
    """Six epochs, ASHA from the third, four paths of which one is conditional."""
    epochs = search.pop("epochs", 6)
    resources = search.pop("resources", {})
    corpus = {"type": "standin", **search.pop("corpus", {})}
    run: dict[str, Any] = {"corpus": corpus, "training": {"epochs": epochs, "batch_size": 16}}
    run["student"] = {
        "type": "audio_text_transformer",
        "width": 8,
        "heads": 2,
        "cross_layers": 1,
        "self_layers": 1,
        "token_width": 4,
    }
    base = {"scheduler": {"type": "asha", "grace_epochs": 3, "reduction": 2}, "startup_trials": 3, "space": SPACE}
    data = {"name": "fake", "claim": "none", "run": run, "search": {**base, **search}, "resources": resources}
    return validated(data, "fake")


def score(run: RunSpec, epoch: int) -> float:
    """Rises with the epoch; best near a learning rate of 1e-3 and without dropout. In (0, 1)."""
    distance = abs(math.log10(run.training.learning_rate) + 3) + run.student.dropout
    return (1 - math.exp(-epoch / 2)) * math.exp(-distance)


def formula_work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """Epochs by formula, with checkpoints; obeys the faults that the cache folder's `faults.json` names by number.

    `diverge`, `crash` (an exception), `nan`, those of `machine_faults` (in the second epoch), and under the key
    "all" how many seconds every epoch takes. Each epoch run is logged as a line of `epochs.log`.
    """
    folder = Path(job.cache)
    faults = json.loads((folder / "faults.json").read_text("utf-8")) if (folder / "faults.json").exists() else {}
    fault, pause = faults.get(str(number), ""), float(faults.get("all", 0.0))
    start = restored(reporter)
    value = score(run, start)
    for epoch in range(start + 1, run.training.epochs + 1):
        time.sleep(pause)
        with (folder / "epochs.log").open("a", encoding="utf-8") as log:
            log.write(f"{number} {epoch} {os.getpid()}\n")
        if epoch == 2:
            _fail(fault, folder, number)
        value = math.nan if fault == "nan" else score(run, epoch)
        two = getattr(run.method, "phases", "") == "two_phase" and epoch == 1
        reporter.report(epoch, {"dev/weighted_f1": value, "loss": 1 / epoch, "phase": 0.0 if two else 1.0})
        save_epoch(reporter, epoch)
        if reporter.should_stop() and epoch < run.training.epochs:
            reporter.stopped()
    return {
        o.metric: float(run.student.dropout * 10) if o.metric == "parameters" else value for o in job.objectives
    }


def _fail(fault: str, folder: Path, number: int) -> None:
    if fault == "diverge":
        raise DivergedError("epoch 2: loss/kd is nan; lower training.learning_rate")
    if fault == "crash":
        raise ZeroDivisionError("division by zero\nand more lines")
    machine_fault(fault, folder, number)


def restored(reporter: Reporter) -> int:
    with TemporaryDirectory() as folder:
        if reporter.restore(Path(folder)):
            return int((Path(folder) / "epoch").read_text("utf-8"))
    return 0


def save_epoch(reporter: Reporter, epoch: int) -> None:
    with TemporaryDirectory() as folder:
        (Path(folder) / "epoch").write_text(str(epoch), "utf-8")
        reporter.save(Path(folder))


class Notes(Observer):
    """Remembers what an observer is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.states: list[tuple[int, str]] = []
        self.epochs: list[tuple[int, int]] = []

    def trial_changed(self, trial: TrialRecord) -> None:
        self.states.append((trial.number, trial.state))

    def message(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        self.messages.append(text)

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        assert report == trial.reports[-1]
        self.epochs.append((trial.number, report.epoch))


def fold_work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """One fold by formula, a tenth lower a fold; logs `number fold epoch` in `folds.log`.

    Trial 0 loses its process in the second epoch of its second fold, once; trial 1 ends its first fold at epoch 4.
    """
    folder, fold = Path(job.cache), run.fold
    assert fold is not None
    last = 4 if (number, fold) == (1, 0) else run.training.epochs
    for epoch in range(restored(reporter) + 1, last + 1):
        with (folder / "folds.log").open("a", encoding="utf-8") as log:
            log.write(f"{number} {fold} {epoch}\n")
        if (fold, epoch) == (1, 2):
            _fail("die" if number == 0 else "", folder, number)
        reporter.report(epoch, {"dev/weighted_f1": fold_score(run, epoch), "epoch": float(epoch)})
        save_epoch(reporter, epoch)
    return {"weighted_f1": fold_score(run, last)}


def fold_score(run: RunSpec, epoch: int) -> float:
    return score(run, epoch) * (1 - 0.1 * (run.fold or 0))
