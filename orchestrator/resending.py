"""`orch sync`: a sweep sent to MLflow again, from its journal, its tables, its summary and its models alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from orchestrator.candidates import ablations, candidates, trial_run
from orchestrator.errors import ExperimentError, StageError, SweepHeldError
from orchestrator.evaluations import Confirmed, Evaluations
from orchestrator.events import ModelRow, StageName, TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.journal import Journal, trial_key
from orchestrator.lease import driving
from orchestrator.model_ids import confirmed_models
from orchestrator.pipeline import plan_of, stored_summary, summary_key
from orchestrator.plan import Plan, generation
from orchestrator.recording import fetched_student, marker, shown_tables, spool_folder, stored_files, sweep_info
from orchestrator.settings import Settings
from orchestrator.summary import StageSummary, Summary
from trainables.artifacts import read_record
from trainables.conditions import model_prefix
from trainables.errors import ArtifactError
from trainables.storage import Storage

if TYPE_CHECKING:
    from orchestrator.tracking import StoredModel, StoredSweep

Say = Callable[[str, Literal["info", "warning"]], None]


@dataclass(frozen=True)
class Resent:
    """What MLflow now shows."""

    sweep: str
    store: str
    trials: int
    models: int
    finished: bool
    """Whether the sweep has been confirmed, with nothing left to run."""
    refused: list[str]
    """What MLflow would not take."""


def resend(spec: ExperimentSpec, settings: Settings, *, stand_in: bool, say: Say) -> Resent:
    """Send the newest generation of the experiment's sweep; sent twice it changes nothing.

    While another driver holds the sweep, only what is finished of it is sent. Raises ExperimentError where the
    storage has no such sweep, SettingsError or MachineError where MLflow cannot be used.
    """
    plan, storage = plan_of(spec, settings, stand_in), Storage(settings.storage)
    folder = generation(storage, spec.name, plan.sweep, fresh=False)
    home = storage.at(folder)
    if not home.list("trials"):
        raise ExperimentError(_absent(storage, spec, folder))
    with ExitStack() as resources:
        held = True
        try:
            resources.enter_context(driving(home, folder, lambda text: say(text, "warning")))
        except SweepHeldError as error:
            held = False
            who = str(error).partition(";")[0]
            say(f"{who}: what is not finished its driver shows by itself", "warning")
        sweep = _Stored(plan, settings, folder, storage, Journal(home).read(), held, say)
        return sweep.send()


@dataclass(frozen=True)
class _Stored:
    """One sweep in the storage, on its way to MLflow."""

    plan: Plan
    settings: Settings
    folder: str
    storage: Storage
    trials: list[TrialRecord]
    held: bool
    say: Say

    def send(self) -> Resent:
        from orchestrator.tracking import send_again
        from orchestrator.tracking.client import shown

        uri, spec = self.settings.mlflow_tracking_uri, self.plan.spec
        key, summary = self._summary()
        with TemporaryDirectory(prefix="orch-sync-") as scratch:
            stored = self._gathered(key, summary, Path(scratch))
            refused = send_again(
                stored,
                uri=uri,
                spool=spool_folder(self.settings),
                resolve=lambda trial: trial_run(spec, trial),
                say=self.say,
            )
        if stored.finished and self.held and summary is not None and not refused:
            self.storage.write_text(marker(self.folder, self.settings, summary), "{}")
        models, name = len(stored.models), stored.info.sweep
        return Resent(name, shown(uri), len(self.trials), models, stored.finished, refused)

    def _summary(self) -> tuple[str, Summary | None]:
        """(key, summary) of what these trials lead to, as `orch sweep` would find it; none where there is none."""
        spec, confirm = self.plan.spec, self.plan.spec.confirm
        try:
            chosen = candidates(spec, self.trials)
        except StageError:  # nothing to confirm yet
            return "", None
        chosen = [*chosen, *ablations(spec, chosen[0])[0]]
        models, by_name = confirmed_models(chosen, confirm.seeds, self.plan.transfer_sets, confirm.mc_passes)
        confirmed = Confirmed(by_name, Evaluations(self.storage, self.plan, models).identities)
        key = summary_key(self.folder, self.plan, confirmed)
        found = stored_summary(self.storage, key)
        return (key, found) if found is not None else ("", None)

    def _gathered(self, key: str, summary: Summary | None, scratch: Path) -> StoredSweep:
        from orchestrator.tracking import StoredSweep

        rows = summary.leaderboard if summary else []
        info = sweep_info(self.plan, self.settings, self.folder)
        made = {name: tag for name, tag in info.tags.items() if name != "git_commit"}  # of this code, not of its
        began, ended = self._times()
        models = self._models(rows, ended)
        return StoredSweep(
            info=info.model_copy(update={"tags": made}),
            trials=self.trials,
            started=began,
            ended=max([ended, *(model.ended for model in models)]),
            finished=summary is not None and all(trial.finished for trial in self.trials),
            held=self.held,
            models=models,
            stages=_told(summary.stages) if summary else {},
            files=stored_files(self.storage, self.folder, key, scratch),
            tables=shown_tables(summary, scratch) if summary else [],
            student=self._student(rows[0], scratch / "model") if rows else None,
        )

    def _times(self) -> tuple[float, float]:
        """When the first trial began and when the last ended; when they were stored where none has begun."""
        times = [time for t in self.trials for time in (t.started, t.ended, *(r.at for r in t.reports)) if time]
        if not times:
            stored = self.storage.modified(f"{self.folder}/{trial_key(self.trials[0].number)}") or 0.0
            return stored, stored
        return min(times), max(times)

    def _models(self, rows: Sequence[ModelRow], otherwise: float) -> list[StoredModel]:
        """Each row at the time that its models were made, by their records."""
        from orchestrator.tracking import StoredModel
        from trainables.teachers import identity

        def times(row: ModelRow) -> list[tuple[float, float]]:
            prefix = identity.prefix if row.role == "teacher" else model_prefix
            found = [read_record(self.storage, prefix(model)) for model in row.models]
            ends = [(one.created.timestamp(), one.seconds) for one in found if one is not None]
            return [(end - seconds, end) for end, seconds in ends] or [(otherwise, otherwise)]

        with ThreadPoolExecutor(8) as pool:
            spans = list(pool.map(times, rows))
        return [
            StoredModel(row, min(start for start, _ in each), max(end for _, end in each))
            for row, each in zip(rows, spans, strict=True)
        ]

    def _student(self, best: ModelRow, scratch: Path) -> tuple[Path, str] | None:
        try:
            return fetched_student(self.storage, best.models[0], scratch), best.name
        except ArtifactError as error:
            self.say(f"the model of {best.name} is not sent: {error}", "warning")
            return None


def _told(stages: dict[StageName, StageSummary]) -> dict[StageName, tuple[str, float | None]]:
    """As the driver told them."""
    return {
        name: (f"skipped: {one.why}", None) if one.skipped else (one.why or "done", one.seconds)
        for name, one in stages.items()
    }


def _absent(storage: Storage, spec: ExperimentSpec, folder: str) -> str:
    name = folder.rpartition("/")[2]
    others = sorted(one for one in storage.folders("sweeps") if one.startswith(f"{spec.name}-"))
    if not others:
        return f"{storage.root} has no sweep of {spec.name}; orch sweep {spec.name} makes one"
    return (
        f"{storage.root} has no sweep {name}; of {spec.name} it has {', '.join(others)}: say --scale, --own or "
        "--stand-in, --seed and --set as they were when it was run"
    )
