"""What MLflow is told of a sweep, and when: nothing is opened for a sweep that is already shown whole."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from orchestrator.candidates import trial_run
from orchestrator.errors import Interrupted
from orchestrator.events import ModelRow, Observer, Report, StageName, TrialRecord
from orchestrator.journal import TABLES
from orchestrator.plan import Plan
from orchestrator.settings import Settings
from orchestrator.summary import Summary
from trainables.artifacts import fetch, fingerprint
from trainables.conditions import model_prefix
from trainables.errors import ArtifactError
from trainables.storage import Storage

if TYPE_CHECKING:
    from orchestrator.tracking import MlflowObserver, SweepInfo


class Recorder(Observer):
    """Opens MLflow at the first thing that happens; what came before (skipped stages, stored rows) is sent then.

    Whoever makes one holds the sweep: what lost drivers left open of it in MLflow is closed.
    """

    def __init__(self, plan: Plan, settings: Settings, folder: str, say: Observer) -> None:
        self.plan, self.settings, self.folder, self._say = plan, settings, folder, say
        self.storage = Storage(settings.storage)
        self.spool = spool_folder(settings)
        self._open: MlflowObserver | None = None
        self._skipped: list[tuple[StageName, str]] = []
        self._rows: list[ModelRow] = []
        self._trials: Sequence[TrialRecord] = ()

    def stage_skipped(self, stage: StageName, why: str) -> None:
        if self._open:
            self._open.stage_skipped(stage, why)
        else:
            self._skipped.append((stage, why))

    def stage_started(self, stage: StageName, what: str) -> None:
        self._opened()

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        self._opened().stage_finished(stage, seconds, note)

    def trial_changed(self, trial: TrialRecord) -> None:
        self._opened().trial_changed(trial)

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        self._opened().trial_reported(trial, report)

    def model_confirmed(self, row: ModelRow) -> None:
        if self._open:
            self._open.model_confirmed(row)
        else:
            self._rows.append(row)

    def stored_trials(self, trials: Sequence[TrialRecord]) -> None:
        """The journal's trials once none of them runs: those whose end this process has not told are told, for a
        driver that was lost may not have sent them. Of a sweep that was skipped they are sent only if MLflow has
        not been shown it to the end."""
        self._trials = [trial for trial in trials if trial.finished]
        if self._open:
            for trial in self._trials:
                self._open.trial_stored(trial)

    def finished(self, summary: Summary, key: str) -> None:
        """Send the tables, the best model and the end; then this summary, stored as `key`, is not sent again."""
        shown = marker(self.folder, self.settings, summary)
        if self._open is None and self.storage.exists(shown) and not self._waiting():
            return
        mlflow = self._opened()
        for trial in self._trials:
            mlflow.trial_stored(trial)
        with tempfile.TemporaryDirectory() as scratch:
            for path in stored_files(self.storage, self.folder, key, Path(scratch)):
                mlflow.artifact(path)
            for path in shown_tables(summary, Path(scratch)):
                mlflow.table(path)
            best = summary.leaderboard[0]
            try:
                mlflow.model(fetched_student(self.storage, best.models[0], Path(scratch) / "model"), best.name)
            except ArtifactError as error:
                self._say.message(f"MLflow: the model of {best.name} is not shown: {error}", "warning")
        if mlflow.close(seconds=self.settings.tracking_patience):
            self.storage.write_text(shown, "{}")

    def close(self, status: Literal["KILLED", "FAILED"], reason: str) -> None:
        if self._open:
            # Who ends early may have half a minute left, and what is not sent in time waits in the spool.
            self._open.close(status, reason, seconds=8.0)

    def leave(self) -> None:
        """Write no more: the sweep is another driver's."""
        if self._open:
            self._open.leave()

    def _opened(self) -> MlflowObserver:
        if self._open is None:
            from orchestrator.tracking import MlflowObserver

            self._open = MlflowObserver(
                sweep_info(self.plan, self.settings, self.folder),
                uri=self.settings.mlflow_tracking_uri,
                spool=self.spool,
                say=self._say.message,
                resolve=lambda trial: trial_run(self.plan.spec, trial),
            )
            for stage, why in self._skipped:
                self._open.stage_skipped(stage, why)
            for row in self._rows:
                self._open.model_confirmed(row)
        return self._open

    def _waiting(self) -> bool:
        from orchestrator.tracking import waiting

        return waiting(self.spool)


def sweep_info(plan: Plan, settings: Settings, folder: str) -> SweepInfo:
    """The parent run of the sweep in `folder`."""
    from orchestrator.tracking import DataInput, SweepInfo, artifact_location
    from trainables import corpus, transfer_set

    spec, storage, commit = plan.spec, Storage(settings.storage), git_commit()

    def read(name: str, identity: str, prefix: str) -> DataInput:
        return DataInput(name=name, digest=identity, source=storage.url(prefix))

    return SweepInfo(
        sweep=folder.rsplit("/", 1)[-1],
        experiment=f"{settings.experiment_prefix}{spec.name}",
        claim=spec.claim,
        stand_in=plan.stand_in,
        tags={
            "corpus": spec.run.corpus.type,
            "corpus_fingerprint": plan.corpus,
            **({"alignment": spec.run.corpus.alignment.type} if plan.reads_segments else {}),
            **_made(plan),
            **({"git_commit": commit} if commit else {}),
        },
        params={
            "run": spec.run.model_dump(mode="json"),
            "search": spec.search.model_dump(mode="json", exclude={"space"}),
        },
        inputs=[
            read(spec.run.corpus.type, plan.corpus, corpus.prefix(plan.corpus)),
            *(
                read(f"transfer-set{_of(fold, '-')}", one, transfer_set.prefix(one))
                for fold, one in plan.transfer_sets.items()
            ),
        ],
        objectives=[(one.metric, one.direction) for one in spec.search.objectives],
        artifact_location=artifact_location(settings.mlflow_tracking_uri),
    )


def spool_folder(settings: Settings) -> Path:
    """Where drivers on this machine keep what MLflow has not got yet."""
    return Path(settings.cache) / "mlflow-spool"


def stored_files(storage: Storage, folder: str, summary: str, scratch: Path) -> list[Path]:
    """Copies of the sweep's tables and of its summary (at the key `summary`; none where it is empty)."""
    found = [(key, table) for table in TABLES if storage.exists(key := f"{folder}/{table}")]
    if summary:
        found.append((summary, "summary.json"))
    return [storage.download(key, scratch / name) for key, name in found]


def shown_tables(summary: Summary, scratch: Path) -> list[Path]:
    """The confusion matrices, or the scores label by label, and those where input is missing or damaged, in the
    form that MLflow's UI shows as a table."""
    from orchestrator.model_tables import model_tables

    tables = model_tables(summary)
    for name, table in tables.items():
        (scratch / f"{name}.json").write_text(json.dumps(table.shown()), encoding="utf-8")
    return [scratch / f"{name}.json" for name in tables]


def fetched_student(storage: Storage, model: str, scratch: Path) -> Path:
    """The folder of an exported student; ArtifactError where it is not what its record says."""
    fetch(storage, model_prefix(model), scratch, only=("student.safetensors", "student.json"))
    return scratch


def marker(folder: str, settings: Settings, summary: Summary) -> str:
    """The key of what says: shown in this store are these trials, and these models under these conditions."""
    from orchestrator.tracking.client import shown

    content = {
        "uri": shown(settings.mlflow_tracking_uri),
        "trials": summary.trials.model_dump(),
        "models": [row.models for row in summary.leaderboard],
        "conditions": [[one.name for one in row.robustness] for row in summary.leaderboard],
    }
    return f"{folder}/shown-{fingerprint('shown', 1, content)}.json"


def _made(plan: Plan) -> dict[str, str]:
    """Each fold's transfer set and teachers, by the names of their tags."""
    found = {}
    for fold in plan.folds:
        found[f"transfer_set{_of(fold.fold, '_')}"] = fold.transfer_set
        found |= {f"teacher_{name}{_of(fold.fold, '_')}": value for name, value in fold.teachers.items()}
    return found


def _of(fold: int | None, mark: str) -> str:
    return "" if fold is None else f"{mark}fold{mark}{fold}"


@contextmanager
def recording(
    plan: Plan, settings: Settings, folder: str, say: Observer, *, holds: Callable[[], bool] = lambda: True
) -> Iterator[Recorder]:
    """A recorder whose runs are closed as what they were, however the body ends.

    holds: whether this process still holds the sweep. Where it does not, another one now writes the same runs.
    """
    recorder = Recorder(plan, settings, folder, say)
    try:
        yield recorder
    except BaseException as error:
        if not holds():
            recorder.leave()
        elif isinstance(error, (Interrupted, KeyboardInterrupt)):
            recorder.close("KILLED", "interrupted")
        else:
            recorder.close("FAILED", f"{type(error).__name__}: {error}")
        raise


def git_commit() -> str | None:
    """The commit of the code that runs, where it runs from its own checkout."""
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)  # not some other repository that the package lies in
        return git("rev-parse", "HEAD") or None
    except (OSError, subprocess.SubprocessError):
        return None
