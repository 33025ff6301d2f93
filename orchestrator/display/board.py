"""What there is to see of a sweep at one moment, gathered from events; the displays draw it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal

from orchestrator.events import STAGES, ModelRow, Observer, Report, StageName, TrialRecord, TrialState
from orchestrator.scores import by_fold

StageState = Literal["waiting", "running", "done", "skipped"]
Message = tuple[str, Literal["info", "warning"]]


@dataclass
class StageView:
    state: StageState = "waiting"
    note: str = ""
    """Why it was skipped, what it does, or what it said at its end."""
    started: float = 0.0
    seconds: float = 0.0
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class BoardSpec:
    """What the display must know beforehand."""

    title: str
    metric: str = "weighted_f1"
    """The first objective: `best` is of this one."""
    highest: bool = True
    trials: int = 0
    """Trials that the sweep will have in all; 0 where nobody knows."""
    folds: int = 0
    """Of each trial; 0 with one official split."""


@dataclass
class Board(Observer):
    """The state of a sweep. Thread-safe, so that a display may draw it from a thread of its own."""

    spec: BoardSpec
    clock: Callable[[], float] = time.time
    stages: dict[StageName, StageView] = field(default_factory=lambda: {name: StageView() for name in STAGES})
    trials: dict[int, TrialRecord] = field(default_factory=dict)
    ended: list[int] = field(default_factory=list)
    """Numbers of the finished trials as they were told; their times are by the clocks of several drivers."""
    models: list[ModelRow] = field(default_factory=list)
    widest: int = 1
    """Most trials that were seen running at once: the concurrency as it really is."""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self.began = self.clock()

    def stage_skipped(self, stage: StageName, why: str) -> None:
        with self.lock:
            self.stages[stage] = StageView("skipped", why)

    def stage_started(self, stage: StageName, what: str) -> None:
        with self.lock:
            self.stages[stage] = StageView("running", what, started=self.clock())

    def stage_progress(self, stage: StageName, done: int, total: int, note: str = "") -> None:
        with self.lock:
            view = self.stages[stage]
            view.done, view.total, view.note = done, total, note or view.note

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        with self.lock:
            view = self.stages[stage]
            view.state, view.seconds, view.note = "done", seconds, note or view.note

    def trial_known(self, trial: TrialRecord) -> None:
        self.trial_changed(trial)

    def trial_changed(self, trial: TrialRecord) -> None:
        with self.lock:
            self.trials[trial.number] = trial.model_copy(update={"reports": list(trial.reports)})
            if trial.finished and trial.number not in self.ended:
                self.ended.append(trial.number)
            self.widest = max(self.widest, self.count("running"))

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        self.trial_changed(trial)

    def model_confirmed(self, row: ModelRow) -> None:
        with self.lock:
            self.models.append(row)

    def count(self, *states: TrialState) -> int:
        return sum(trial.state in states for trial in self.trials.values())

    @property
    def finished(self) -> int:
        return self.count("completed", "pruned", "failed")

    @property
    def total(self) -> int:
        return max(self.spec.trials, len(self.trials))

    def score(self, trial: TrialRecord) -> float | None:
        """Its objective where it ended with one, else its best epoch so far; None before the first that counts.

        Over folds, the mean of each fold's.
        """
        ended = trial.values.get(self.spec.metric)
        if ended is not None:
            return ended
        if trial.state == "failed":
            return None
        folds = [self._best(reports) for reports in by_fold(trial.reports).values()] or [self._best(trial.reports)]
        seen = [score for score in folds if score is not None]
        return fmean(seen) if seen else None

    def _best(self, reports: Sequence[Report]) -> float | None:
        key = f"dev/{self.spec.metric}"
        seen = [r.metrics[key] for r in reports if key in r.metrics and r.metrics.get("phase", 1) >= 1]
        return (max if self.spec.highest else min)(seen, default=None)

    def best(self) -> TrialRecord | None:
        """The trial with the best score so far, running ones included."""
        scored = [(score, trial) for trial in self.trials.values() if (score := self.score(trial)) is not None]
        if not scored:
            return None
        return (max if self.spec.highest else min)(scored, key=lambda pair: pair[0])[1]

    def seconds_left(self) -> float | None:
        """Of the sweep: what is left of each trial, were it as long as the mean of the finished ones."""
        lengths = [t.ended - t.started for t in self.trials.values() if t.finished and t.ended > t.started > 0]
        if not lengths:
            return None
        mean, now = sum(lengths) / len(lengths), self.clock()
        running = [t for t in self.trials.values() if t.state == "running"]
        ahead = sum(min(max(mean - (now - t.started), 0.0), mean) for t in running)
        waiting = max(self.total - self.finished - len(running), 0)
        return (ahead + waiting * mean) / self.widest
