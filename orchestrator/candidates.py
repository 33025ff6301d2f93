"""Which configurations are confirmed: the best of the sweep, both controls, unimodal students, ablations."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.controls import without_teachers
from orchestrator.errors import ExperimentError, StageError
from orchestrator.events import TrialRecord
from orchestrator.experiment import ExperimentSpec, Objective
from orchestrator.leaderboard import Candidate
from orchestrator.space import with_values
from trainables.artifacts import canonical_json
from trainables.spec import Modality, RunSpec
from trainables.spec.demands import needs_of, unmet
from trainables.spec.method import Teaching


def ranked(trials: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """What may be confirmed, best dev value of the first objective first, ties by number.

    Completed trials of the search, its default among them; with several objectives only the Pareto front.
    """
    usable = [t for t in trials if t.state == "completed" and t.role != "control" and _values(t, objectives)]
    if len(objectives) > 1:
        usable = [t for t in usable if not any(dominates(other, t, objectives) for other in usable)]
    return sorted(usable, key=lambda trial: (_costs(trial, objectives)[0], trial.number))


def dominates(one: TrialRecord, other: TrialRecord, objectives: Sequence[Objective]) -> bool:
    """Whether `one` is at least as good in every objective and better in some."""
    a, b = _costs(one, objectives), _costs(other, objectives)
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


def _values(trial: TrialRecord, objectives: Sequence[Objective]) -> bool:
    return all(objective.metric in trial.values for objective in objectives)


def _costs(trial: TrialRecord, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The objectives' values, each turned so that less is better."""
    return tuple((-1.0 if o.direction == "max" else 1.0) * trial.values[o.metric] for o in objectives)


def trial_run(spec: ExperimentSpec, trial: TrialRecord) -> RunSpec:
    """The run of a trial: the experiment's, with the trial's values and overrides."""
    return with_values(spec.run, {**trial.params, **trial.overrides})


def candidates(spec: ExperimentSpec, trials: Sequence[TrialRecord]) -> list[Candidate]:
    """What `confirm` trains.

    The control without a teacher is the best configuration's own student, optimiser and length with hard labels
    alone, so that it differs in nothing but what it has of its teachers; the default is the method at its own
    setting, left out where its trial failed: trained again it would fail again, and with it the whole stage.
    """
    order = ranked(trials, spec.search.objectives)
    if not order:
        failed = next((t.reason for t in trials if t.state == "failed"), "none was run")
        raise StageError(
            f"no trial of the sweep was completed, so there is nothing to confirm ({failed}); "
            "more --trials go on with it, --fresh starts it anew"
        )
    chosen: list[Candidate] = []
    seen: set[str] = set()
    for trial in order:
        run = trial_run(spec, trial)
        identity = canonical_json(run)
        if identity in seen or len(chosen) == spec.confirm.top:
            continue
        seen.add(identity)
        chosen.append(Candidate(f"best-{len(chosen) + 1}", "best", run, trial.params, trial.number))
    best = chosen[0]
    if not default_failure(trials):
        chosen.append(Candidate("default", "default", spec.run, {}, _number(trials, "default")))
    alone = with_values(best.run, without_teachers(best.run))
    if alone != best.run:
        chosen.append(Candidate("no-teacher", "control", alone, best.params))
    return chosen + unimodal(best)


def default_candidate(spec: ExperimentSpec) -> Candidate:
    """The experiment's own run, where nothing is searched."""
    return Candidate("default", "default", spec.run, {})


def ablations(spec: ExperimentSpec, base: Candidate) -> tuple[list[Candidate], list[str]]:
    """The experiment's ablations laid on `base`, and why some are left out."""
    found, left_out = list[Candidate](), list[str]()
    for name, change in spec.confirm.ablations.items():
        try:
            run = with_values(base.run, change)
            why = unmet(run) or (f"it changes nothing of {base.name}" if run == base.run else "")
        except ExperimentError as error:
            why = str(error)
        if why:
            left_out.append(f"ablation {name} is left out: {why}")
        else:
            found.append(Candidate(name, "ablation", run, {**base.params, **change}))
    return found, left_out


def default_failure(trials: Sequence[TrialRecord]) -> str:
    """Why the trial of the method's own setting failed; empty where it did not."""
    return next((t.reason or "failed" for t in trials if t.role == "default" and t.state == "failed"), "")


def unimodal(best: Candidate) -> list[Candidate]:
    """The best configuration reduced to each of its modalities, where it has several and can do with one."""
    modalities = best.run.student.modalities
    found = []
    for modality in modalities if len(modalities) > 1 else ():
        run = _reduced(best.run, modality)
        if run is not None:
            found.append(Candidate(f"{modality}-only", "unimodal", run, best.params))
    return found


def _reduced(run: RunSpec, modality: Modality) -> RunSpec | None:
    """The run with one modality; what pairs two of them falls away, be it a term or the whole method."""
    try:
        run = with_values(run, {"student.modalities": [modality]})
        terms = run.method.terms.enabled if isinstance(run.method, Teaching) else ()
        pairing = {f"method.terms.{name}.enabled": False for name, term in terms if term.needs.both}
        run = with_values(run, pairing)
        if needs_of(run).both:
            run = with_values(run, {"method": {"type": "supervised"}})
    except ExperimentError:
        return None
    return None if unmet(run) else run


def _number(trials: Sequence[TrialRecord], role: str) -> int | None:
    return next((trial.number for trial in trials if trial.role == role), None)
