"""What `orch check` asks of an experiment, answered from the specs alone: no torch, no artifact, no GPU.

Every variant that a user can start is checked: each scale, on its own corpus and on the stand-in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import get_args

from orchestrator.errors import ExperimentError
from orchestrator.experiment import COSTS, ExperimentSpec, Scale, check, load, read
from orchestrator.space import corners, with_values
from trainables.spec import RunSpec
from trainables.spec.demands import unmet
from trainables.spec.metrics import LOWER_IS_BETTER, metrics_of

SEARCHABLE = ("student", "method", "training")
"""The parts of a run that a search may change; each of the others would need a transfer set of its own."""


@dataclass(frozen=True)
class Checked:
    """What was found of one experiment; `fault` is empty where all is well."""

    name: str
    variants: int = 0
    corners: int = 0
    trials: tuple[int, ...] = ()
    """Per variant."""
    fault: str = ""


def check_experiment(name: str) -> Checked:
    """Every variant of one experiment; the first fault ends it."""
    built, trials = 0, []
    try:
        for variant, spec in variants(name):
            try:
                built += check_spec(spec)
            except ExperimentError as error:
                raise ExperimentError(f"{variant}: {error}") from error
            trials.append(spec.search.trials)
    except ExperimentError as error:
        return Checked(name, fault=str(error))
    return Checked(name, len(trials), built, tuple(trials))


def variants(name: str) -> Iterator[tuple[str, ExperimentSpec]]:
    """(what it is, the spec) for each scale, on the experiment's own corpus and on the stand-in."""
    has_stand_in = bool(read(name).get("stand_in"))
    for scale in get_args(Scale):
        for stand_in in (False, True) if has_stand_in else (False,):
            told = f"scale {scale}{', stand-in' if stand_in else ''}"
            try:
                yield told, load(name, scale=scale, stand_in=stand_in)
            except ExperimentError as error:
                raise ExperimentError(f"{told}: {error}") from error


def check_spec(spec: ExperimentSpec) -> int:
    """Fields, ranges, metrics, leakage and needs of one variant; returns the number of corners built."""
    check_metrics(spec)
    check_paths(spec)
    built = check(spec)
    check_needs(spec.run, "the run")
    for path, value, run in corners(spec.search.space, spec.run):
        check_needs(run, f"search.space.{path} at {value!r}")
    check_ablations(spec)
    return built


def check_metrics(spec: ExperimentSpec) -> None:
    """Epochs are chosen by a known dev score, objectives are known and go the right way."""
    known = metrics_of(spec.run.corpus.multi_label)
    if spec.run.metric not in known or spec.run.metric in LOWER_IS_BETTER:
        scores = ", ".join(name for name in known if name not in LOWER_IS_BETTER)
        raise ExperimentError(f"run.metric {spec.run.metric!r}: an epoch is chosen by one of {scores}")
    seen: set[str] = set()
    for number, objective in enumerate(spec.search.objectives):
        place, metric = f"search.objectives.{number}.metric {objective.metric!r}", objective.metric
        if metric in seen:
            raise ExperimentError(f"{place}: it is there twice; keep one")
        seen.add(metric)
        if metric.startswith(("test", "dev", "train")):
            raise ExperimentError(f"{place}: name the score alone; selection always reads dev, and never test")
        if metric not in (*known, *COSTS):
            raise ExperimentError(f"{place}: unknown; there are {', '.join((*known, *COSTS))}")
        wanted = "min" if metric in LOWER_IS_BETTER or metric in COSTS else "max"
        if objective.direction != wanted:
            raise ExperimentError(f"{place}: its direction is {wanted}, not {objective.direction}")


def check_paths(spec: ExperimentSpec) -> None:
    """Trials share one transfer set and differ by what is searched, never by luck of the seed."""
    for path in spec.search.space:
        part = path.split(".", 1)[0]
        if part == "seed":
            raise ExperimentError("search.space.seed: a searched seed selects luck; confirm.seeds shows its spread")
        if part in RunSpec.model_fields and part not in SEARCHABLE:
            raise ExperimentError(
                f"search.space.{path}: every value would need a transfer set of its own; "
                f"search below {', '.join(SEARCHABLE)}, and give {part} an experiment each"
            )


def check_ablations(spec: ExperimentSpec) -> None:
    """Each ablation makes a run of the experiment's own, or of some point of the search, on their transfer sets."""
    for name, change in spec.confirm.ablations.items():
        place = f"confirm.ablations.{name}"
        for path in change:
            part = path.split(".", 1)[0]
            if part in RunSpec.model_fields and part not in SEARCHABLE:
                raise ExperimentError(
                    f"{place}: {path} is no part of {', '.join(SEARCHABLE)}; give it an experiment"
                )
        check_needs(_ablated(spec, change, place), place)


def _ablated(spec: ExperimentSpec, change: Mapping[str, object], place: str) -> RunSpec:
    try:
        return with_values(spec.run, change)
    except ExperimentError as error:
        for _, _, run in corners(spec.search.space, spec.run):
            with suppress(ExperimentError):
                return with_values(run, change)
        raise ExperimentError(f"{place}: {error}") from error


def check_needs(run: RunSpec, place: str) -> None:
    """The corpus and the teachers have what the student and the method read of them."""
    fault = unmet(run)
    if fault:
        raise ExperimentError(f"{place}: {fault}")
