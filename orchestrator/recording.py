"""What MLflow is told of a sweep, and when: nothing is opened for a sweep that is already shown whole."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
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
from trainables.artifacts import fingerprint
from trainables.storage import Storage

if TYPE_CHECKING:
    from orchestrator.tracking import DataInput, MlflowObserver, SweepInfo


class Recorder(Observer):
    """Opens MLflow at the first thing that happens; what came before (skipped stages, stored rows) is sent then."""

    def __init__(self, plan: Plan, settings: Settings, folder: str, say: Observer) -> None:
        self.plan, self.settings, self.folder, self._say = plan, settings, folder, say
        self.storage = Storage(settings.storage)
        self.spool = Path(settings.cache) / "mlflow-spool"
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
        """The trials of a sweep that was skipped; sent only if MLflow has not been shown them to the end."""
        self._trials = trials

    def finished(self, summary: Summary) -> None:
        """Send the tables, the best model and the end; afterwards this summary is not sent again."""
        marker = self._marker(summary)
        if self._open is None and self.storage.exists(marker) and not self._waiting():
            return
        mlflow = self._opened()
        for trial in self._trials:
            mlflow.trial_changed(trial)
        with tempfile.TemporaryDirectory() as scratch:
            for table in TABLES:
                key = f"{self.folder}/{table}"
                if self.storage.exists(key):
                    mlflow.artifact(self.storage.download(key, Path(scratch) / table))
            text = Path(scratch) / "summary.json"
            text.write_text(summary.model_dump_json(indent=1), encoding="utf-8")
            mlflow.artifact(text)
            self._tables(mlflow, summary, Path(scratch))
            best = summary.leaderboard[0]
            mlflow.model(self._fetched(best.models[0], Path(scratch) / "model"), best.name)
        if mlflow.close():
            self.storage.write_text(marker, "{}")

    def close(self, status: Literal["KILLED", "FAILED"], reason: str) -> None:
        if self._open:
            self._open.close(status, reason)

    def _tables(self, mlflow: MlflowObserver, summary: Summary, folder: Path) -> None:
        """The confusion matrices, or the scores label by label, and those where input is missing or damaged, in the
        form that MLflow's UI shows as a table."""
        from orchestrator import confusion, label_scores, robustness

        rows = summary.leaderboard
        tables = {"labels": label_scores.as_columns(rows)} if rows[0].by_label else {}
        if rows[0].confusion:
            tables["confusion"] = confusion.as_columns(rows, summary.labels)
        if any(row.robustness for row in rows):
            tables["robustness"] = robustness.as_columns(rows)
        for name, table in tables.items():
            path = folder / f"{name}.json"
            path.write_text(json.dumps(table), encoding="utf-8")
            mlflow.table(path)

    def _fetched(self, model: str, folder: Path) -> Path:
        for file in self.storage.list(f"models/{model}"):
            self.storage.download(file.key, folder / file.key.rsplit("/", 1)[-1])
        return folder

    def _opened(self) -> MlflowObserver:
        if self._open is None:
            from orchestrator.tracking import MlflowObserver

            self._open = MlflowObserver(
                self._info(),
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

    def _info(self) -> SweepInfo:
        from orchestrator.tracking import SweepInfo, artifact_location

        plan, spec = self.plan, self.plan.spec
        sweep = self.folder.rsplit("/", 1)[-1]
        commit = git_commit()
        return SweepInfo(
            sweep=sweep,
            experiment=f"{self.settings.experiment_prefix}{spec.name}",
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
                self._input(spec.run.corpus.type, "corpora", plan.corpus),
                *(
                    self._input(f"transfer-set{_of(fold, '-')}", "transfer_sets", one)
                    for fold, one in plan.transfer_sets.items()
                ),
            ],
            objectives=[(one.metric, one.direction) for one in spec.search.objectives],
            artifact_location=artifact_location(self.settings.mlflow_tracking_uri),
        )

    def _input(self, name: str, kind: str, identity: str) -> DataInput:
        from orchestrator.tracking import DataInput

        return DataInput(name=name, digest=identity, source=self.storage.url(f"{kind}/{identity}"))

    def _waiting(self) -> bool:
        from orchestrator.tracking import waiting

        return waiting(self.spool)

    def _marker(self, summary: Summary) -> str:
        """Said to have been shown in this store: these trials, and these models under these conditions."""
        content = {
            "uri": self.settings.mlflow_tracking_uri,
            "trials": summary.trials.model_dump(),
            "models": [row.models for row in summary.leaderboard],
            "conditions": [[one.name for one in row.robustness] for row in summary.leaderboard],
        }
        return f"{self.folder}/shown-{fingerprint('shown', 1, content)}.json"


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
def recording(plan: Plan, settings: Settings, folder: str, say: Observer) -> Iterator[Recorder]:
    """A recorder whose runs are closed as what they were, however the body ends."""
    recorder = Recorder(plan, settings, folder, say)
    try:
        yield recorder
    except (Interrupted, KeyboardInterrupt):
        recorder.close("KILLED", "interrupted")
        raise
    except BaseException as error:
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
