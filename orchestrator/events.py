"""What happens in a sweep, as calls on observers: the live display, the journal and MLflow each are one.

Observers are called in the driver, one call at a time. One that raises is a fault of ours and ends the sweep;
whatever may fail for outside reasons (a server that is away) an observer keeps to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

StageName = Literal["prepare", "teach", "harvest", "sweep", "confirm"]
STAGES: tuple[StageName, ...] = ("prepare", "teach", "harvest", "sweep", "confirm")

TrialState = Literal["queued", "running", "completed", "pruned", "failed"]
TrialRole = Literal["search", "default", "control"]
ModelRole = Literal["best", "default", "control", "unimodal", "ablation", "teacher"]


class Report(BaseModel):
    """The metrics of one epoch (counted from 1; over folds the count runs on, and `fold` is among the metrics)."""

    model_config = ConfigDict(frozen=True)

    epoch: int
    metrics: dict[str, float]
    at: float = 0.0
    """When the driver heard of it, seconds since 1970; 0 before that."""


class TrialRecord(BaseModel):
    """One trial, as the journal keeps it. `params` holds the searched values by dotted path."""

    number: int
    role: TrialRole
    params: dict[str, Any]
    overrides: dict[str, Any] = {}
    """Fixed values by dotted path that make a control; not part of the search space."""
    state: TrialState = "queued"
    reason: str = ""
    machine: bool = False
    """Of a failed one: that the machine failed and not the trial, which the next call therefore tries again."""
    values: dict[str, float] = {}
    """The objectives by name, of the best epoch; empty unless completed or pruned. Over folds their means, and
    `<name>/sd` and `fold/<k>/<name>` beside them."""
    reports: list[Report] = []
    started: float = 0.0
    """Seconds since 1970, as are all times here; each by the clock of the driver that wrote it, so that nothing is
    ordered by them. `ended` is never before it."""
    ended: float = 0.0
    attempts: int = 0

    @property
    def name(self) -> str:
        return f"trial-{self.number:04d}"

    @property
    def finished(self) -> bool:
        return self.state in ("completed", "pruned", "failed")

    @property
    def settled(self) -> bool:
        """Whether it has an end that no later call will change."""
        return self.finished and not self.machine

    @property
    def epochs(self) -> int:
        return self.reports[-1].epoch if self.reports else 0


class Interval(BaseModel):
    model_config = ConfigDict(frozen=True)

    low: float
    high: float


class Spread(BaseModel):
    """A score over the folds of a cross-validation."""

    model_config = ConfigDict(frozen=True)

    mean: float
    sd: float
    each: list[float]
    """By fold, each the mean over seeds."""


class LabelScore(BaseModel):
    """How well one of several labels is told on test, the mean over seeds; None where test cannot tell."""

    model_config = ConfigDict(frozen=True)

    label: str
    support: int
    """Test utterances that have it."""
    balanced_accuracy: float | None
    f1: float | None
    average_precision: float | None
    tuned_f1: float | None
    """At the threshold fitted on dev."""
    threshold: float
    """Fitted on dev, the mean over seeds and folds."""


class ConditionScore(BaseModel):
    """The score of a confirmed model where something of its input is missing or damaged."""

    model_config = ConfigDict(frozen=True)

    name: str
    """As `only-audio`, `white-10dB`, `words-dropped-30%`."""
    score: float
    """Mean over seeds, over all test rows of all folds, as the clean score."""
    interval: Interval
    change: float
    """`score` less the clean one on the same rows."""
    change_interval: Interval
    """95 % paired bootstrap over test utterances."""
    metrics: dict[str, float] = {}
    """Every metric, that of `score` too, means over seeds."""


class ModelRow(BaseModel):
    """One line of the confirmed leaderboard; `score` is the mean over seeds on test, in [0, 1].

    Over folds, `score`, `sd`, `interval` and `metrics` are of all test rows together, each of them tested once.
    """

    name: str
    role: ModelRole
    score: float
    sd: float | None
    """Over seeds; None with one seed."""
    interval: Interval
    """95 % bootstrap interval over test utterances."""
    dev_score: float
    seeds: list[int]
    parameters: int
    latency_ms: float | None
    """Median milliseconds for one utterance on one CPU thread, features given."""
    metrics: dict[str, float] = {}
    """Further test metrics (accuracy, UAR, ECE, entropies, ...), means over seeds."""
    params: dict[str, Any] = {}
    models: list[str] = []
    """Fingerprints under `models/`, seed by seed; within a seed fold by fold."""
    trial: int | None = None
    folds: dict[str, Spread] = {}
    """By metric; empty with one official split."""
    confusion: list[list[int]] = []
    """Test utterances by label (row) and prediction (column), summed over seeds and folds; empty where an utterance
    may have several labels."""
    by_label: list[LabelScore] = []
    """Where an utterance may have several."""
    robustness: list[ConditionScore] = []
    """With modalities missing, then with what there is damaged."""


@dataclass
class StageReport:
    """What a stage says of itself at its end."""

    note: str = ""
    seconds: float = 0.0
    """Wall time of the stage; known once it has ended."""


class Observer:
    """Base with empty methods: an observer overrides what it wants to see."""

    def stage_skipped(self, stage: StageName, why: str) -> None: ...

    def stage_started(self, stage: StageName, what: str) -> None: ...

    def stage_progress(self, stage: StageName, done: int, total: int, note: str = "") -> None: ...

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None: ...

    def trial_known(self, trial: TrialRecord) -> None:
        """The sweep goes on, and this trial had ended before."""

    def trial_changed(self, trial: TrialRecord) -> None:
        """The trial was queued, started, ended; `trial.state` says which. Called again for each trial resumed."""

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        """An epoch of a running trial has ended; `report` is already in `trial.reports`."""

    def model_confirmed(self, row: ModelRow) -> None: ...

    def message(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        """Something the user should read once."""


class Observers(Observer):
    """Passes every call on to each of several observers, in order."""

    def __init__(self, *observers: Observer) -> None:
        self.all = list(observers)

    def stage_skipped(self, stage: StageName, why: str) -> None:
        for one in self.all:
            one.stage_skipped(stage, why)

    def stage_started(self, stage: StageName, what: str) -> None:
        for one in self.all:
            one.stage_started(stage, what)

    def stage_progress(self, stage: StageName, done: int, total: int, note: str = "") -> None:
        for one in self.all:
            one.stage_progress(stage, done, total, note)

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        for one in self.all:
            one.stage_finished(stage, seconds, note)

    def trial_known(self, trial: TrialRecord) -> None:
        for one in self.all:
            one.trial_known(trial)

    def trial_changed(self, trial: TrialRecord) -> None:
        for one in self.all:
            one.trial_changed(trial)

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        for one in self.all:
            one.trial_reported(trial, report)

    def model_confirmed(self, row: ModelRow) -> None:
        for one in self.all:
            one.model_confirmed(row)

    def message(self, text: str, level: Literal["info", "warning"] = "info") -> None:
        for one in self.all:
            one.message(text, level)


@contextmanager
def watching(observer: Observer, stage: StageName, what: str) -> Iterator[StageReport]:
    """Announce a stage, time it, and announce its end with the note that the body leaves."""
    import time

    began = time.monotonic()
    observer.stage_started(stage, what)
    report = StageReport()
    yield report
    report.seconds = time.monotonic() - began
    observer.stage_finished(stage, report.seconds, report.note)


__all__ = [
    "STAGES",
    "ConditionScore",
    "Interval",
    "LabelScore",
    "ModelRow",
    "Observer",
    "Observers",
    "Report",
    "Spread",
    "TrialRecord",
    "watching",
]
