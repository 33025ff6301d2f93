"""`orch sweep`: the five stages in order, the leaderboard at their end, and the summary that is kept of it.

`orch ablate` is the same without the search.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pydantic import ValidationError

from orchestrator.candidates import ablations, candidates, default_candidate, default_failure, ranked
from orchestrator.check import check_spec
from orchestrator.errors import ExperimentError
from orchestrator.events import Observer, Observers, TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.launch.job_note import note_sweep
from orchestrator.launch.metrics_driver import SweepMetrics
from orchestrator.leaderboard import Candidate
from orchestrator.lease import Timing, driving
from orchestrator.plan import Plan, generation, make_plan
from orchestrator.recording import Recorder, recording, spool_folder
from orchestrator.settings import Settings
from orchestrator.stages import SCRATCH, Stages
from orchestrator.summary import Summary, TrialCounts
from orchestrator.tracking.client import shown
from orchestrator.tracking.spool import unsent
from trainables.artifacts import Record, fingerprint
from trainables.spec import RunSpec
from trainables.storage import Storage

if TYPE_CHECKING:
    from orchestrator.evaluations import Confirmed

SUMMARY_SCHEMA = 5


def sweep(
    spec: ExperimentSpec,
    settings: Settings,
    *,
    stand_in: bool,
    fresh: bool = False,
    trials: int | None = None,
    concurrency: int | None = None,
    observer: Observer,
) -> Summary:
    """Run what is not there yet and return the summary; a sweep whose every part exists starts no Ray."""
    plan = plan_of(spec, settings, stand_in)
    folder = generation(Storage(settings.storage), spec.name, plan.sweep, fresh=fresh)
    with _stages(plan, settings, folder, trials or spec.search.trials, concurrency, observer) as (stages, recorder):
        corpus = _taught(stages)
        found = stages.sweep()
        recorder.stored_trials(found)
        chosen = candidates(spec, found)
        failure = default_failure(found)
        if failure:
            stages.observer.message(f"the default is not confirmed: its trial failed ({failure})", "warning")
        return _conclude(stages, recorder, corpus, found, chosen)


def ablate(
    spec: ExperimentSpec,
    settings: Settings,
    *,
    stand_in: bool,
    concurrency: int | None = None,
    observer: Observer,
) -> Summary:
    """Confirm the experiment's own run and its ablations, each laid on it; nothing is searched."""
    if not spec.confirm.ablations:
        raise ExperimentError(
            f"{spec.name}: it names no ablation; add confirm.ablations: {{NAME: {{PATH: VALUE}}}}"
        )
    plan = plan_of(spec, settings, stand_in)
    folder = f"ablations/ablate-{spec.name}-{plan.sweep}"
    with _stages(plan, settings, folder, 0, concurrency, observer) as (stages, recorder):
        corpus = _taught(stages)
        stages.skip_sweep("an ablation searches nothing")
        return _conclude(stages, recorder, corpus, [], [default_candidate(spec)])


def plan_of(spec: ExperimentSpec, settings: Settings, stand_in: bool) -> Plan:
    """The plan of an experiment with these settings; raises what the commands tell where it cannot run."""
    check_spec(spec)  # what a corpus cannot give is said now, not by the trials
    settings.cache_folder()  # before hours of work, not when the first trial wants it
    root = settings.corpus_root(spec.run.corpus.type) if not stand_in else None
    alignments = settings.alignment_folder(spec.run.corpus.type, spec.run.corpus.alignment.type)
    return make_plan(spec, stand_in=stand_in, corpus_root=root, alignments=alignments)


@contextmanager
def _stages(  # noqa: PLR0917
    plan: Plan, settings: Settings, folder: str, trials: int, concurrency: int | None, observer: Observer
) -> Iterator[tuple[Stages, Recorder]]:
    with ExitStack() as resources:
        home = Storage(settings.storage).at(folder)
        timing = Timing(wait=settings.driver_patience)
        lease = resources.enter_context(
            driving(home, folder, lambda text: observer.message(text, "warning"), timing)
        )
        home.remove(SCRATCH)  # of a driver that was killed
        note_sweep(Storage(settings.storage), folder, trials)
        recorder = resources.enter_context(
            recording(plan, settings, folder, observer, holds=lambda: lease.taken_by is None)
        )
        shown = resources.enter_context(closing(_metrics(plan, settings, folder)))
        yield (
            Stages(
                plan=plan,
                settings=settings,
                observer=Observers(observer, recorder, shown),
                sweep_folder=folder,
                trials=trials,
                concurrency=concurrency or settings.concurrency,
                resources=resources,
                guard=lease.guard,
            ),
            recorder,
        )


def _metrics(plan: Plan, settings: Settings, folder: str) -> SweepMetrics:
    spool, objective = spool_folder(settings), plan.spec.search.objectives[0]
    return SweepMetrics(plan.spec.name, folder.rpartition("/")[2], objective, lambda: unsent(spool))


def _taught(stages: Stages) -> Record:
    """The corpus's record, once the transfer sets are there."""
    corpus = stages.prepare()
    stages.teach()
    stages.harvest()
    return corpus


def _conclude(
    stages: Stages, recorder: Recorder, corpus: Record, trials: list[TrialRecord], chosen: list[Candidate]
) -> Summary:
    """Confirm these candidates and the ablations of the first of them."""
    ablated, left_out = ablations(stages.plan.spec, chosen[0])
    for told in left_out:
        stages.observer.message(told)
    chosen = [*chosen, *ablated]
    confirmed = stages.confirm(chosen)
    summary = _summary(stages, corpus, trials, chosen, confirmed)
    recorder.finished(summary, summary_key(stages.sweep_folder, stages.plan, confirmed))
    return summary


def _summary(
    stages: Stages,
    corpus: Record,
    trials: list[TrialRecord],
    chosen: list[Candidate],
    confirmed: Confirmed,
) -> Summary:
    """The stored summary of these models where there is one, else worked out and stored."""
    storage, key = stages.storage, summary_key(stages.sweep_folder, stages.plan, confirmed)
    stored = stored_summary(storage, key)
    if stored is not None:
        summary = stored.model_copy(
            update={"stages": stages.done, "trials": counts(trials), "paths": paths(stages)}
        )
        for row in summary.leaderboard:
            stages.observer.model_confirmed(row)
        return summary
    summary = _work_out(stages, corpus, trials, chosen, confirmed)
    store_tables(storage, stages.sweep_folder, key.rpartition("-")[2].removesuffix(".json"), summary)
    storage.write_text(key, summary.model_dump_json(indent=1))
    return summary


def summary_key(folder: str, plan: Plan, confirmed: Confirmed) -> str:
    """Where the summary of these models of the sweep in `folder` is kept."""
    digest = fingerprint(
        "summary",
        SUMMARY_SCHEMA,
        {"confirm": plan.spec.confirm.model_dump(mode="json")},
        {**{name: "+".join(models) for name, models in confirmed.models.items()}, **confirmed.robustness},
    )
    return f"{folder}/summary-{digest}.json"


def store_tables(storage: Storage, folder: str, digest: str, summary: Summary) -> None:
    """Beside the summary of the same digest: every row's confusion matrix, or its scores label by label, and its
    scores where input is missing or damaged."""
    import pyarrow.parquet as pq

    from orchestrator.model_tables import model_tables

    with TemporaryDirectory(prefix="orch-tables-") as scratch:
        for name, table in model_tables(summary).items():
            path = Path(scratch) / f"{name}.parquet"
            pq.write_table(table.stored(), path)
            storage.upload(path, f"{folder}/{name}-{digest}.parquet")


def stored_summary(storage: Storage, key: str) -> Summary | None:
    """The summary that is kept there; one that cannot be read is as good as none, for it is worked out again."""
    if not storage.exists(key):
        return None
    try:
        return Summary.model_validate_json(storage.read_text(key))
    except ValidationError:
        return None


def _work_out(
    stages: Stages, corpus: Record, trials: list[TrialRecord], chosen: list[Candidate], confirmed: Confirmed
) -> Summary:
    from orchestrator.leaderboard import gains, score_students, score_teachers

    plan, spec = stages.plan, stages.plan.spec
    metric, resamples = spec.run.metric, spec.confirm.resamples
    students = score_students(
        stages.storage, chosen, confirmed.models, metric, resamples, tried=confirmed.robustness
    )
    teachers = score_teachers(
        stages.storage,
        [(fold.transfer_set, {str(name): fp for name, fp in fold.teachers.items()}) for fold in plan.folds],
        stages.settings.cache / "transfer_sets",
        metric,
        resamples,
    )
    base = students[0]
    # Which of the best is the best is decided on dev; test only says how good it is.
    students.sort(key=lambda s: (s.row.role != "best", -s.row.dev_score if s.row.role == "best" else 0.0))
    best = students[0]
    controls = [s for s in students[1:] if s.row.role in ("default", "control")]
    ablated = [s for s in students if s.row.role == "ablation"]
    rows = [scored.row for scored in (*students, *teachers)]
    for row in rows:
        stages.observer.model_confirmed(row)
    bounded, bounds = ceilings(corpus, metric)
    return Summary(
        experiment=spec.name,
        fingerprint=plan.sweep,
        stand_in=plan.stand_in,
        metric=metric,
        stages=stages.done,
        trials=counts(trials),
        leaderboard=rows,
        front=[t.number for t in ranked(trials, spec.search.objectives)] if spec.several_objectives else [],
        gains=gains(best, controls, metric, resamples),
        ceilings=bounds,
        ceilings_metric=bounded,
        alignment=corpus.info["alignment"]["source"] if plan.reads_segments else {},
        comparable=corpus.info["alignment"]["comparable"] or not plan.reads_segments,
        paths=paths(stages),
        folds=len(plan.folds) if len(plan.folds) > 1 else 0,
        labels=list(corpus.info["labels"]),
        inputs=scored_inputs(spec.run),
        ablations=gains(base, ablated, metric, resamples, named=True),
    )


def scored_inputs(run: RunSpec) -> list[str]:
    """The sets of modalities whose mean is the dev score, where there are several."""
    inputs = run.method.inputs(run.student.modalities)
    return ["+".join(one) for one in inputs] if len(inputs) > 1 else []


def counts(trials: list[TrialRecord]) -> TrialCounts:
    states = [trial.state for trial in trials]
    return TrialCounts(
        total=len(states),
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
    )


def ceilings(corpus: Record, metric: str) -> tuple[str, dict[str, float] | None]:
    """Of which score the stand-in has Bayes ceilings, `metric` where it can be, and they; None off the stand-in."""
    own = corpus.info.get(f"ceilings_{metric}")
    return (metric, own) if own else ("weighted_f1", corpus.info.get("ceilings") or None)


def paths(stages: Stages) -> dict[str, str]:
    from trainables import corpus, transfer_set
    from trainables.teachers import identity

    plan, storage = stages.plan, stages.storage
    made = {f"teacher-{name}": storage.url(identity.prefix(fp)) for name, fp in plan.folds[0].teachers.items()}
    made["transfer_set"] = storage.url(transfer_set.prefix(plan.folds[0].transfer_set))
    if len(plan.folds) > 1:
        made = {name: storage.url(name) for name in ("teachers", "transfer_sets")}
    return {
        "storage": storage.root,
        "corpus": storage.url(corpus.prefix(plan.corpus)),
        **made,
        "sweep": storage.url(stages.sweep_folder),
        "models": storage.url("models"),
        "mlflow": shown(stages.settings.mlflow_tracking_uri),
    }
