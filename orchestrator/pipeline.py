"""`orch sweep`: the five stages in order, the leaderboard at their end, and the summary that is kept of it."""

from __future__ import annotations

from contextlib import ExitStack

from pydantic import ValidationError

from orchestrator.candidates import candidates, default_failure, ranked
from orchestrator.events import Observer, Observers, TrialRecord
from orchestrator.experiment import ExperimentSpec
from orchestrator.leaderboard import Candidate
from orchestrator.plan import generation, make_plan
from orchestrator.recording import recording
from orchestrator.settings import Settings
from orchestrator.stages import Stages
from orchestrator.summary import Ceilings, Summary, TrialCounts
from trainables.artifacts import Record, fingerprint
from trainables.storage import Storage

SUMMARY_SCHEMA = 1


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
    storage = Storage(settings.storage)
    settings.cache_folder()  # before hours of work, not when the first trial wants it
    root = settings.corpus_root(spec.run.corpus.type) if not stand_in else None
    alignments = settings.alignment_folder(spec.run.corpus.type, spec.run.corpus.alignment.type)
    plan = make_plan(spec, stand_in=stand_in, corpus_root=root, alignments=alignments)
    folder = generation(storage, spec.name, plan.sweep, fresh=fresh)
    wanted = trials or spec.search.trials
    with ExitStack() as resources:
        recorder = resources.enter_context(recording(plan, settings, folder, observer))
        stages = Stages(
            plan=plan,
            settings=settings,
            observer=Observers(observer, recorder),
            sweep_folder=folder,
            trials=wanted,
            concurrency=concurrency or settings.concurrency,
            resources=resources,
        )
        corpus = stages.prepare()
        stages.teach()
        stages.harvest()
        found = stages.sweep()
        if stages.done["sweep"].skipped:
            recorder.stored_trials(found)
        chosen = candidates(spec, found)
        failure = default_failure(found)
        if failure:
            stages.observer.message(f"the default is not confirmed: its trial failed ({failure})", "warning")
        models = stages.confirm(chosen)
        summary = _summary(stages, corpus, found, chosen, models)
        recorder.finished(summary)
        return summary


def _summary(
    stages: Stages,
    corpus: Record,
    trials: list[TrialRecord],
    chosen: list[Candidate],
    models: dict[str, list[str]],
) -> Summary:
    """The stored summary of these models where there is one, else worked out and stored."""
    plan, storage = stages.plan, stages.storage
    digest = fingerprint(
        "summary",
        SUMMARY_SCHEMA,
        {"confirm": plan.spec.confirm.model_dump(mode="json")},
        {n: "+".join(f) for n, f in models.items()},
    )
    key = f"{stages.sweep_folder}/summary-{digest}.json"
    stored = stored_summary(storage, key)
    if stored is not None:
        summary = stored.model_copy(
            update={"stages": stages.done, "trials": counts(trials), "paths": paths(stages)}
        )
        for row in summary.leaderboard:
            stages.observer.model_confirmed(row)
        return summary
    summary = _work_out(stages, corpus, trials, chosen, models)
    storage.write_text(key, summary.model_dump_json(indent=1))
    return summary


def stored_summary(storage: Storage, key: str) -> Summary | None:
    """The summary that is kept there; one that cannot be read is as good as none, for it is worked out again."""
    if not storage.exists(key):
        return None
    try:
        return Summary.model_validate_json(storage.read_text(key))
    except ValidationError:
        return None


def _work_out(
    stages: Stages, corpus: Record, trials: list[TrialRecord], chosen: list[Candidate], models: dict[str, list[str]]
) -> Summary:
    from orchestrator.leaderboard import gains, score_students, score_teachers

    plan, spec = stages.plan, stages.plan.spec
    metric, resamples = spec.run.metric, spec.confirm.resamples
    students = score_students(stages.storage, chosen, models, metric, resamples)
    teachers = score_teachers(
        stages.storage,
        plan.transfer_set,
        stages.settings.cache / "transfer_sets",
        {str(name): fp for name, fp in plan.teachers.items()},
        metric,
        resamples,
    )
    # Which of the best is the best is decided on dev; test only says how good it is.
    students.sort(key=lambda s: (s.row.role != "best", -s.row.dev_score if s.row.role == "best" else 0.0))
    best = students[0]
    controls = [s for s in students if s.row.role in ("default", "control")]
    rows = [scored.row for scored in (*students, *teachers)]
    for row in rows:
        stages.observer.model_confirmed(row)
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
        ceilings=ceilings(corpus),
        paths=paths(stages),
    )


def counts(trials: list[TrialRecord]) -> TrialCounts:
    states = [trial.state for trial in trials]
    return TrialCounts(
        total=len(states),
        completed=states.count("completed"),
        pruned=states.count("pruned"),
        failed=states.count("failed"),
    )


def ceilings(corpus: Record) -> Ceilings | None:
    """The Bayes ceilings that the stand-in's record holds; None for a real corpus."""
    found = corpus.info.get("ceilings")
    if not found:
        return None
    return Ceilings(**{name: found[name] for name in ("audio", "text", "both")})


def paths(stages: Stages) -> dict[str, str]:
    plan, storage = stages.plan, stages.storage
    return {
        "storage": storage.root,
        "corpus": storage.url(f"corpora/{plan.corpus}"),
        **{f"teacher-{name}": storage.url(f"teachers/{fp}") for name, fp in plan.teachers.items()},
        "transfer_set": storage.url(f"transfer_sets/{plan.transfer_set}"),
        "sweep": storage.url(stages.sweep_folder),
        "models": storage.url("models"),
        "mlflow": stages.settings.mlflow_tracking_uri,
    }
