"""A sweep's progress as metrics, for whoever watches several sweeps at once."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from orchestrator.events import Observer, Report, StageName, TrialRecord, TrialState
from orchestrator.experiment import Objective
from orchestrator.launch import metrics

STATES: tuple[TrialState, ...] = ("queued", "running", "completed", "pruned", "failed")
SPOOL_SECONDS = 5.0


class SweepMetrics(Observer):
    """Silent until this process is connected to Ray, which reads its environment when it is first imported. What a
    Ray client (ray://) tells is exported nowhere, for it is on no node; its trials' requests and caches are.

    unsent: bytes that wait for MLflow; asked at most every SPOOL_SECONDS.
    """

    def __init__(self, experiment: str, sweep: str, objective: Objective, unsent: Callable[[], int]) -> None:
        self._tags = {"experiment": experiment, "sweep": sweep}
        self._objective, self._unsent = objective, unsent
        self._states: dict[int, TrialState] = {}
        self._counts: Counter[TrialState] = Counter()
        self._best: float | None = None
        self._listens = False
        self._looked = -SPOOL_SECONDS

    def close(self) -> None:
        """Nobody drives the sweep any more."""
        metrics.forget(self._tags)

    def stage_started(self, stage: StageName, what: str) -> None:
        self._stage(stage, 0.0)

    def stage_progress(self, stage: StageName, done: int, total: int, note: str = "") -> None:
        self._stage(stage, done / total if total else 0.0)

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        self._stage(stage, 1.0)

    def trial_known(self, trial: TrialRecord) -> None:
        self._moved(trial)
        self._better(trial)

    def trial_changed(self, trial: TrialRecord) -> None:
        before = self._moved(trial)
        if not self._progress():
            return
        if trial.state == "queued" and before == "running":
            metrics.record(metrics.RESTARTS, 1, self._tags)
        if trial.finished and trial.started:
            metrics.record(metrics.TRIAL_SECONDS, trial.ended - trial.started, {**self._tags, "state": trial.state})
        self._better(trial)
        for state in STATES:
            metrics.record(metrics.TRIALS, self._counts[state], {**self._tags, "state": state})

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        if self._progress():
            metrics.record(metrics.EPOCHS, 1, self._tags)

    def _moved(self, trial: TrialRecord) -> TrialState | None:
        """The state that it had before."""
        before = self._states.get(trial.number)
        if before is not None:
            self._counts[before] -= 1
        self._counts[trial.state] += 1
        self._states[trial.number] = trial.state
        return before

    def _better(self, trial: TrialRecord) -> None:
        """Of searched trials alone: a control is no result of the search."""
        value = trial.values.get(self._objective.metric)
        if value is not None and trial.role != "control":
            best = max if self._objective.direction == "max" else min
            self._best = value if self._best is None else best(self._best, value)
        if self._best is not None and _connected():
            metrics.record(metrics.BEST, self._best, {**self._tags, "metric": self._objective.metric})

    def _stage(self, stage: StageName, share: float) -> None:
        if self._progress():
            metrics.record(metrics.STAGE, share, {**self._tags, "stage": stage})

    def _progress(self) -> bool:
        """Note that something moved; False, and nothing is noted, while there is no Ray."""
        if not _connected():
            return False
        if not self._listens:
            metrics.show_storage()
            self._listens = True
        metrics.record(metrics.HEARD, time.time(), self._tags)
        if time.monotonic() - self._looked >= SPOOL_SECONDS:
            self._looked = time.monotonic()
            with suppress(Exception):
                metrics.record(metrics.SPOOL, self._unsent(), self._tags)
        return True


def _connected() -> bool:
    asked = getattr(sys.modules.get("ray"), "is_initialized", None)
    return asked is not None and bool(asked())
