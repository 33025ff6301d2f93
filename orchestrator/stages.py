"""The five stages: what each reads and writes, when it may be skipped, and the one call that does its work.

A stage is finished when its record exists. Ray is started by the first stage that needs it and kept for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StageError
from orchestrator.events import Observer, StageName, TrialRecord, watching
from orchestrator.experiment import reads_of
from orchestrator.plan import Plan
from orchestrator.settings import Settings, cores
from orchestrator.summary import StageSummary
from trainables.artifacts import Record, publish, read_record
from trainables.storage import Storage

SCRATCH = "ray"
"""Folder of a sweep in which Ray writes on a cluster of others; nothing in it is read."""

if TYPE_CHECKING:
    from orchestrator.evaluations import Confirmed, Evaluations
    from orchestrator.leaderboard import Candidate
    from orchestrator.model_ids import ConfirmedModel


@dataclass
class Stages:
    """One sweep's way through its stages. `done` fills with what each stage did."""

    plan: Plan
    settings: Settings
    observer: Observer
    sweep_folder: str
    """Key of the sweep below the storage root."""
    trials: int
    concurrency: int | None
    resources: ExitStack
    """Holds the Ray cluster; whoever made it closes it."""
    guard: Callable[[], None] = lambda: None
    """Raises where another driver has taken the sweep over."""
    done: dict[StageName, StageSummary] = field(default_factory=dict)
    _connected: bool = field(default=False, init=False)

    @cached_property
    def storage(self) -> Storage:
        return Storage(self.settings.storage)

    @property
    def root(self) -> str:
        """The storage root as a URL that a worker elsewhere can use."""
        return self.storage.root

    def prepare(self) -> Record:
        from trainables.corpus import prefix
        from trainables.prepare import prepare

        spec = self.plan.run.corpus
        root = self.settings.corpus_root(spec.type)
        alignments = self.settings.alignment_folder(spec.type, spec.alignment.type)

        def work() -> str:
            progress = self._progress("prepare")
            return _rows(prepare(self.storage, spec, root, cores(), progress, alignments=alignments))

        self._run("prepare", self._has(prefix(self.plan.corpus)), f"corpus {self.plan.corpus}", work)
        return self._record(prefix(self.plan.corpus))

    def teach(self) -> None:
        from trainables.teachers.identity import prefix

        def work() -> str:
            self._cluster()
            from orchestrator.launch.teach import run_teach

            run_teach(
                self.plan.folds,
                storage=self.root,
                corpus=self.plan.corpus,
                resources=self.plan.spec.resources,
                on_progress=self._progress("teach"),
            )
            scores = self._teacher_scores()
            return ", ".join(f"{name} dev {self.plan.run.metric} {score:.3f}" for name, score in scores.items())

        ready = all(self._has(prefix(fp)) for fold in self.plan.folds for fp in fold.teachers.values())
        names = ", ".join(self.plan.folds[0].teachers)
        self._run("teach", ready, f"teachers {names}{self._of_folds}" if names else "the run has no teacher", work)

    def harvest(self) -> None:
        from trainables.transfer_set import prefix

        def work() -> str:
            self._cluster()
            from orchestrator.launch.harvest import run_harvest

            run_harvest(
                self.plan.folds,
                storage=self.root,
                corpus=self.plan.corpus,
                needs=self.plan.needs,
                resources=self.plan.spec.resources,
                on_progress=self._progress("harvest"),
            )
            return _rows(self._record(prefix(self.plan.folds[0].transfer_set))) + self._of_folds

        ready = all(self._has(prefix(fold.transfer_set)) for fold in self.plan.folds)
        sets = [fold.transfer_set for fold in self.plan.folds]
        what = f"transfer set {sets[0]}" if len(sets) == 1 else f"{len(sets)} transfer sets"
        self._run("harvest", ready, what, work)

    def sweep(self) -> list[TrialRecord]:
        from orchestrator.journal import Journal

        journal = Journal(self.storage.at(self.sweep_folder))
        found = journal.read()
        finished = [trial for trial in found if trial.settled]

        def work() -> str:
            self._readable()
            self._cluster()
            from orchestrator.launch.sweep import SweepPlan, run_sweep

            plan = SweepPlan(
                spec=self.plan.spec,
                storage=self.root,
                sweep=self.sweep_folder,
                transfer_sets=tuple(self.plan.transfer_sets.values()),
                cache=str(self.settings.cache),
                trials=self.trials,
                concurrency=self.concurrency,
                guard=self.guard,
            )
            for trial in finished:
                self.observer.trial_known(trial)
            began = time.monotonic()
            found[:] = run_sweep(plan, self.observer)
            self._record_sweep(found, time.monotonic() - began)
            return _counts(found)

        ready = len(finished) >= self.trials and len(finished) == len(found)
        self._run("sweep", ready, f"{self.trials} trials", work, f"{len(finished)} trials are finished")
        return found

    def skip_sweep(self, why: str) -> None:
        self.observer.stage_skipped("sweep", why)
        self.done["sweep"] = StageSummary(skipped=True, seconds=0.0, why=why)

    def confirm(self, candidates: list[Candidate]) -> Confirmed:
        """Train every candidate's models, and try each on missing and damaged input."""
        from orchestrator.evaluations import Confirmed, Evaluations
        from orchestrator.model_ids import confirmed_models
        from trainables.artifacts import RECORD
        from trainables.conditions import model_prefix

        confirm = self.plan.spec.confirm
        models, by_name = confirmed_models(candidates, confirm.seeds, self.plan.transfer_sets, confirm.mc_passes)
        missing = [one for fp, one in models.items() if not self.storage.exists(f"{model_prefix(fp)}/{RECORD}")]
        tried = Evaluations(self.storage, self.plan, models)
        what = f"{len(missing)} of {len(models)} models"
        if tried.by_model:
            what += f", {len(tried.missing)} of {len(tried.by_model)} evaluations of robustness"

        def work() -> str:
            self._confirm(missing, tried)
            told = [f"{len(missing)} models trained, test read once each"] if missing else []
            told += [f"{len(tried.missing)} tried on missing and damaged input"] if tried.missing else []
            return "; ".join(told)

        self._run("confirm", not (missing or tried.missing), what, work)
        return Confirmed(by_name, tried.identities)

    def _confirm(self, models: list[ConfirmedModel], tried: Evaluations) -> None:
        """The models, then the damaged test splits that are not there, then the evaluations on them."""
        self._readable()
        self._cluster()
        from orchestrator.launch.confirm import Job, ModelJob, RobustnessJob, run_jobs
        from orchestrator.launch.harvest import run_shards

        total, count = len(models) + len(tried.missing), 0
        resources = self.plan.spec.resources

        def on_done(job: Job) -> None:
            nonlocal count
            count += 1
            self.observer.stage_progress("confirm", count, total, job.prefix)

        def on_shard(done: int, shards: int, note: str = "") -> None:
            self.observer.stage_progress("confirm", count, total, f"damaged test splits: {done} of {shards} shards")

        given: dict[str, Any] = {
            "storage": self.root, "cache": str(self.settings.cache), "resources": resources.confirm,
            "concurrency": self.concurrency, "on_done": on_done,
        }  # fmt: skip
        passes = self.plan.spec.confirm.mc_passes
        run_jobs([ModelJob(**vars(one), mc_passes=passes) for one in models], **given)
        run_shards(tried.damaged(), resources.harvest, on_shard)
        run_jobs([RobustnessJob(**vars(one)) for one in tried.missing], **given)

    def _teacher_scores(self) -> dict[str, float]:
        """Each teacher's dev score, its mean over folds."""
        from trainables.teachers.identity import prefix

        each: dict[str, list[float]] = {}
        for fold in self.plan.folds:
            for name, fp in fold.teachers.items():
                each.setdefault(name, []).append(self._record(prefix(fp)).info["dev"][self.plan.run.metric])
        return {name: fmean(values) for name, values in each.items()}

    @property
    def _of_folds(self) -> str:
        return f", in each of {len(self.plan.folds)} folds" if len(self.plan.folds) > 1 else ""

    def _record_sweep(self, trials: list[TrialRecord], seconds: float) -> None:
        """The record of the sealed tables; extending the sweep writes it anew."""
        from orchestrator.journal import TABLES

        states = [str(trial.state) for trial in trials]
        record = Record(
            kind="sweep",
            fingerprint=self.plan.sweep,
            spec=self.plan.spec.model_dump(mode="json"),
            reads=reads_of(list(self.plan.transfer_sets.values())),
            rows={state: states.count(state) for state in sorted(set(states))},
            info={"stand_in": self.plan.stand_in},
            created=datetime.now(UTC),
            seconds=seconds,
        )
        tables = [name for name in TABLES if self.storage.exists(f"{self.sweep_folder}/{name}")]
        publish(self.storage, self.sweep_folder, None, record, stored=tables)

    def _run(
        self, stage: StageName, ready: bool, what: str, work: Callable[[], str], why: str = "its output exists"
    ) -> None:
        """Do the stage's work unless it is ready, telling the observers; fills `done`."""
        if ready:
            self.observer.stage_skipped(stage, f"{why} ({what})")
            self.done[stage] = StageSummary(skipped=True, seconds=0.0, why=f"{why} ({what})")
            return
        with watching(self.observer, stage, what) as report:
            report.note = work()
        self.done[stage] = StageSummary(skipped=False, seconds=round(report.seconds, 2), why=report.note)

    def _readable(self) -> None:
        """Fetch and verify the transfer sets before a trial does: its failure would be kept as the trial's own."""
        from trainables.transfer_set import materialise

        for transfer_set in self.plan.transfer_sets.values():
            materialise(self.storage, transfer_set, self.settings.cache / "transfer_sets")

    def _cluster(self) -> None:
        """Connect to Ray, once; before anything is imported that imports Ray, which reads its environment then."""
        if self._connected:
            return
        from orchestrator.launch.cluster import connected
        from orchestrator.launch.placement import check_resources

        there = connected(
            self.settings.ray_address,
            cpus=None,
            storage=self.storage,
            cache=self.settings.cache,
            scratch=self.storage.at(f"{self.sweep_folder}/{SCRATCH}"),
        )
        cluster = self.resources.enter_context(there)
        check_resources(cluster, self.plan.spec.resources, done=self.done)
        self._connected = True

    def _progress(self, stage: StageName) -> Callable[..., None]:
        def progress(done: int, total: int, note: str = "") -> None:
            self.observer.stage_progress(stage, done, total, note)

        return progress

    def _has(self, prefix: str) -> bool:
        return read_record(self.storage, prefix) is not None

    def _record(self, prefix: str) -> Record:
        record = read_record(self.storage, prefix)
        if record is None:
            raise StageError(f"{self.storage.url(prefix)}: the stage ended without its record")
        return record


def _rows(record: Record) -> str:
    return ", ".join(f"{count} {split}" for split, count in record.rows.items())


def _counts(trials: list[TrialRecord]) -> str:
    states = [trial.state for trial in trials]
    names = ("completed", "pruned", "failed")
    return ", ".join(f"{states.count(name)} {name}" for name in names if name in states)
