"""A sweep of `cmd-meld` as its driver stores and shows it, without what would train anything.

Trials follow a formula, confirmed models are rows of made-up scores; journal, tables, summary, records and the
recorder are the real ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.candidates import ablations, candidates
from orchestrator.evaluations import Confirmed, Evaluations
from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.experiment import ExperimentSpec, load
from orchestrator.journal import Journal
from orchestrator.model_ids import confirmed_models
from orchestrator.pipeline import counts, plan_of, summary_key
from orchestrator.plan import Plan, generation
from orchestrator.recording import Recorder
from orchestrator.settings import Settings
from orchestrator.summary import StageSummary, Summary
from tests.helpers.sweeps import row
from trainables.artifacts import Record, publish
from trainables.storage import Storage

BEGAN = 1_700_000_000.0
EPOCHS = 3
SETS = ["confirm.top=1", "confirm.seeds=2", "confirm.robustness.enabled=false"]


@dataclass
class Tracked:
    """One experiment in one storage; `folder` is its sweep's."""

    settings: Settings
    spec: ExperimentSpec
    plan: Plan
    folder: str
    student: Path | None = None
    """An exported student, stored as every confirmed model."""

    @classmethod
    def at(cls, storage: str, uri: str, cache: Path, student: Path | None = None, **settings: Any) -> Tracked:
        given = Settings(storage=storage, cache=cache, mlflow_tracking_uri=uri, **settings)
        spec = load("cmd-meld", stand_in=True, scale="laptop", sets=SETS)
        plan = plan_of(spec, given, stand_in=True)
        return cls(given, spec, plan, generation(Storage(storage), spec.name, plan.sweep, fresh=False), student)

    @property
    def storage(self) -> Storage:
        return Storage(self.settings.storage)

    @property
    def journal(self) -> Journal:
        return Journal(self.storage.at(self.folder))

    @property
    def name(self) -> str:
        return self.folder.rpartition("/")[2]

    def recorder(self, say: Observer | None = None) -> Recorder:
        return Recorder(self.plan, self.settings, self.folder, say or Observer())

    def start(self, number: int, observer: Observer) -> TrialRecord:
        """A trial that now runs."""
        started = BEGAN + 100 * number
        trial = TrialRecord(number=number, role="default" if number == 0 else "search", params=_params(number))
        self._told(trial, observer, state="queued")
        self._told(trial, observer, state="running", started=started, attempts=1)
        return trial

    def epoch(self, trial: TrialRecord, observer: Observer) -> None:
        epoch = trial.epochs + 1
        score = 0.5 + 0.01 * trial.number + 0.001 * epoch
        metrics = {"dev/weighted_f1": score, "loss": 1 / epoch}
        report = Report(epoch=epoch, metrics=metrics, at=trial.started + 10.5 * epoch)
        trial.reports = [*trial.reports, report]
        observer.trial_reported(trial, report)
        self.journal.write(trial)

    def finish(self, trial: TrialRecord, observer: Observer) -> None:
        """Every fourth is stopped by the scheduler, every fifth fails."""
        ended = {"ended": trial.started + 50.25, "values": {"weighted_f1": 0.5 + 0.01 * trial.number}}
        if trial.number % 5 == 4:
            self._told(trial, observer, state="failed", reason="DivergedError: no", ended=ended["ended"])
        elif trial.number % 4 == 3:
            self._told(trial, observer, state="pruned", reason="asha", **ended)
        else:
            self._told(trial, observer, state="completed", **ended)

    def run(self, numbers: Sequence[int], observer: Observer) -> None:
        for number in numbers:
            trial = self.start(number, observer)
            for _ in range(EPOCHS):
                self.epoch(trial, observer)
            self.finish(trial, observer)

    def conclude(self, recorder: Recorder) -> None:
        """Seal, confirm, store the summary, and tell the recorder of the end."""
        recorder.stored_trials(self.journal.read())
        key, summary = self.seal()
        for one in summary.leaderboard:
            recorder.model_confirmed(one)
        recorder.finished(summary, key)

    def seal(self) -> tuple[str, Summary]:
        """Store the tables, the models, and the summary at the key that comes with it."""
        self.journal.seal()
        key, summary = self._confirmed(self.journal.read())
        self.storage.write_text(key, summary.model_dump_json(indent=1))
        return key, summary

    def whole(self, trials: int, recorder: Recorder) -> None:
        """A driver's undisturbed life."""
        recorder.stage_skipped("prepare", "its output exists")
        recorder.stage_started("sweep", f"{trials} trials")
        self.run(range(trials), recorder)
        recorder.stage_finished("sweep", 12.34567, "all")
        self.conclude(recorder)

    def _told(self, trial: TrialRecord, observer: Observer, **change: Any) -> None:
        for name, value in change.items():
            setattr(trial, name, value)
        self.journal.write(trial)
        observer.trial_changed(trial)

    def _confirmed(self, trials: list[TrialRecord]) -> tuple[str, Summary]:
        confirm = self.spec.confirm
        chosen = candidates(self.spec, trials)
        chosen = [*chosen, *ablations(self.spec, chosen[0])[0]]
        models, by_name = confirmed_models(chosen, confirm.seeds, self.plan.transfer_sets, confirm.mc_passes)
        for model in models:
            self._publish(f"models/{model}")
        rows = [
            row(c.name, c.role, 0.6 - 0.01 * i, params=c.params, models=by_name[c.name], trial=c.trial)
            for i, c in enumerate(chosen)
        ]
        key = summary_key(
            self.folder,
            self.plan,
            Confirmed(by_name, Evaluations(self.storage, self.plan, models).identities),
        )
        return key, Summary(
            experiment=self.spec.name,
            fingerprint=self.plan.sweep,
            stand_in=True,
            metric="weighted_f1",
            stages={
                "prepare": StageSummary(skipped=True, seconds=0.0, why="its output exists"),
                "sweep": StageSummary(skipped=False, seconds=12.35, why="all"),
            },
            trials=counts(trials),
            leaderboard=[*rows, row("teacher-audio", "teacher", 0.7, None, models=["0" * 16])],
            gains=[],
            ceilings=None,
            paths={},
        )

    def _publish(self, prefix: str) -> None:
        made = datetime(2023, 11, 15, tzinfo=UTC)
        record = Record(kind="model", fingerprint=prefix[-16:], spec={}, created=made, seconds=7.0)
        publish(self.storage, prefix, self.student, record)


def _params(number: int) -> dict[str, Any]:
    return {"training.learning_rate": 0.001 * (number + 1)}
