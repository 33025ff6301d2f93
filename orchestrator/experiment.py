"""An experiment: one run, what is searched around it, how its best is confirmed, and what it may use.

An experiment is a YAML file of `search_spaces/` (or a path to one). Its `scales` and `stand_in` sections are
overlays on the rest: `load` merges base, then scale, then stand-in, then `--set`, in that order, and checks the
result. A mapping whose `type` changes is replaced as a whole; a null in `search.space` takes a path out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, Field, JsonValue, ValidationError, model_validator

from orchestrator.errors import ExperimentError
from orchestrator.resources import Resources
from orchestrator.space import (
    Choice,
    Space,
    corners,
    default_point,
    first_fault,
    get_path,
    ordered,
    set_in,
    with_values,
)
from orchestrator.yaml_text import parse
from trainables.artifacts import fingerprint
from trainables.spec import RunSpec, Spec
from trainables.spec.robustness import RobustnessSpec

Scale = Literal["laptop", "full"]
SCHEMA_VERSION = 1


COSTS = ("parameters", "latency_ms")
"""What an objective may be beside a score."""


class Objective(Spec):
    """One of the scores of `trainables.spec.metrics` on dev, or `parameters` or `latency_ms` of the student."""

    metric: str = "weighted_f1"
    direction: Literal["max", "min"] = "max"


class Asha(Spec):
    """Asynchronous successive halving by our own epoch counter.

    A cross-validated trial is judged at the rungs of its first fold, and then at the end of a fold only: between
    those the mean over folds would mix ripe scores with a young one.
    """

    type: Literal["asha"] = "asha"
    grace_epochs: Annotated[int, Field(ge=1)] = 12
    reduction: Annotated[float, Field(gt=1)] = 3.0


class NoScheduler(Spec):
    type: Literal["none"] = "none"


class SearchSpec(Spec):
    trials: Annotated[int, Field(ge=1)] = 20
    """Trials in all, the default and the control among them. Not part of the sweep's identity: more extend it."""
    objectives: Annotated[list[Objective], Field(min_length=1)] = [Objective()]
    """One: the best is searched; several: a Pareto front."""
    scheduler: Annotated[Asha | NoScheduler, Field(discriminator="type")] = Asha()
    startup_trials: Annotated[int, Field(ge=1)] = 8
    """Random trials before the sampler models the space."""
    seed: int = 0
    space: Space = {}


def _not_a_row(name: str) -> str:
    if re.fullmatch(r"best-.*|teacher-.*|default|no-teacher|(audio|text)-only", name):
        raise ValueError(f"{name}: another row of the leaderboard has this name; choose one of its own")
    return name


AblationName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40), AfterValidator(_not_a_row)]


class ConfirmSpec(Spec):
    top: Annotated[int, Field(ge=1)] = 3
    """How many of the best configurations are trained anew."""
    seeds: Annotated[int, Field(ge=1)] = 3
    """Runs of each configuration, with seeds 1000, 1001, ... that no trial used."""
    resamples: Annotated[int, Field(ge=100)] = 2000
    mc_passes: Annotated[int, Field(ge=2)] = 20
    ablations: dict[AblationName, Annotated[dict[str, JsonValue], Field(min_length=1)]] = {}
    """Changes laid on the best configuration, by name: values by dotted path into the run, confirmed beside it."""
    robustness: RobustnessSpec = RobustnessSpec()


class ExperimentSpec(Spec):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=40)]
    claim: str
    """What the experiment is to show, in a sentence."""
    paper: str = ""
    run: RunSpec = RunSpec()
    search: SearchSpec = SearchSpec()
    confirm: ConfirmSpec = ConfirmSpec()
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _grace(self) -> ExperimentSpec:
        fault = grace_fault(self.search, self.run)
        if fault:
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _workers(self) -> ExperimentSpec:
        workers, method = self.resources.trial.workers, self.run.method
        if workers > 1 and method.single_worker:
            raise ValueError(
                f"resources.trial.workers {workers}: method {method.type} looks a step ahead and must see its "
                "whole batch in one process; leave it at 1, and give trial.cpus or trial.gpus for larger ones"
            )
        return self

    @property
    def several_objectives(self) -> bool:
        return len(self.search.objectives) > 1


def representation_epochs(run: RunSpec) -> int:
    """The epochs before the first whose dev score counts, at the run's own setting."""
    return run.method.silent_epochs(run.training.epochs)


def names() -> list[str]:
    """The experiments that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def load(
    name: str,
    *,
    scale: Scale = "laptop",
    stand_in: bool = False,
    sets: Sequence[str] = (),
) -> ExperimentSpec:
    """The experiment `name` (or at that path), with its overlays and `--set path=value` applied and checked."""
    data = read(name)
    scales = _mapping(data.pop("scales", None), f"{name}: scales")
    overlay = _mapping(data.pop("stand_in", None), f"{name}: stand_in")
    unknown = sorted(set(scales) - set(get_args(Scale)))
    if unknown:
        raise ExperimentError(f"{name}: scales.{unknown[0]}: scales are {', '.join(get_args(Scale))}")
    data = merged(data, _mapping(scales.get(scale), f"{name}: scales.{scale}"))
    if stand_in:
        if not overlay:
            raise ExperimentError(f"{name}: it has no stand_in section, so it runs on its own corpus only")
        data = merged(data, overlay)
    data = _prune_space(data)
    return _with_sets(validated(data, name), sets, name) if sets else validated(data, name)


def read(name: str) -> dict[str, Any]:
    """The YAML of an experiment as it stands, its header comment aside."""
    text, origin = _text(name)
    try:
        data = parse(text)
    except yaml.YAMLError as error:
        raise ExperimentError(f"{origin}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ExperimentError(f"{origin}: an experiment is a mapping with name, claim, run and search")
    return data


def validated(data: Mapping[str, Any], origin: str) -> ExperimentSpec:
    try:
        return ExperimentSpec.model_validate(data)
    except ValidationError as error:
        raise ExperimentError(f"{origin}: {first_fault(error, '')}") from error


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, key by key; a mapping of another `type` replaces the one below it."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        if (
            isinstance(value, Mapping)
            and isinstance(below, Mapping)
            and value.get("type", below.get("type")) == below.get("type")
        ):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


def sweep_fingerprint(spec: ExperimentSpec, *transfer_sets: str) -> str:
    """Identity of a sweep: what is searched, how, on which transfer sets (one a fold); not how long, nor where."""
    content = {
        "run": spec.run.model_dump(mode="json", include={"student", "method", "training", "metric", "seed"}),
        "search": spec.search.model_dump(mode="json", exclude={"trials"}),
    }
    return fingerprint("sweep", SCHEMA_VERSION, content, reads_of(transfer_sets))


def reads_of(transfer_sets: Sequence[str]) -> dict[str, str]:
    """The transfer sets by the role in which a sweep reads them: one alone, or one a fold."""
    if len(transfer_sets) == 1:
        return {"transfer_set": transfer_sets[0]}
    return {f"transfer_set/{fold}": one for fold, one in enumerate(transfer_sets)}


def grace_fault(search: SearchSpec, run: RunSpec) -> str:
    """What is wrong where ASHA would judge the run at a step that says nothing; empty where nothing is."""
    scheduler, silent, epochs = search.scheduler, representation_epochs(run), run.training.epochs
    if not isinstance(scheduler, Asha):
        return ""
    place = f"search.scheduler.grace_epochs {scheduler.grace_epochs}"
    if scheduler.grace_epochs <= silent:
        return (
            f"{place}: the representation phase has no score, and at this setting method {run.method.type} starts "
            f"with {silent} epochs of representation; give at least {silent + 1}"
        )
    if len(run.folds) > 1 and "training.epochs" in search.space:
        return (
            f"{place}: the steps of a trial over {len(run.folds)} folds count whole folds, so folds of different "
            "lengths compare with nothing; take training.epochs out of the space, or scheduler: {type: none}"
        )
    if len(run.folds) > 1 and scheduler.grace_epochs > epochs:
        return (
            f"{place}: it lies beyond the {epochs} epochs of the first of {len(run.folds)} folds, so that nothing "
            f"would be stopped within it; give at most {epochs}, or scheduler: {{type: none}}"
        )
    return ""


def check(spec: ExperimentSpec) -> int:
    """Every path, condition and end of every range of the search; returns the number of corners built."""
    for path in ordered(spec.search.space):
        _check_conditions(spec, path)
    built = 0
    for path, value, run in corners(spec.search.space, spec.run):
        fault = grace_fault(spec.search, run)
        if fault:
            raise ExperimentError(f"search.space.{path} at {value!r}: {fault}")
        built += 1
    for path, type_, below, value in _unconditional(spec.search.space):
        try:
            with_values(spec.run, {path: type_, below: value})
        except ExperimentError as error:
            told = f"with {path} {type_!r}: {error}; name the types that have it, when: {{{path}: ...}}"
            raise ExperimentError(f"search.space.{below}: {told}") from error
    default_point(spec.search.space, spec.run)
    return built


def _unconditional(space: Space) -> Iterator[tuple[str, Any, str, Any]]:
    """(path of a `type`, its value, a path below the same section whatever the type, a value of it)."""
    for path, chosen in space.items():
        section, _, last = path.rpartition(".")
        if last == "type" and isinstance(chosen, Choice):
            for below, other in space.items():
                if below.startswith(f"{section}.") and below != path and not _hangs_on(space, below, path):
                    yield from ((path, value, below, other.probes[0]) for value in chosen.values)


def _hangs_on(space: Space, path: str, name: str) -> bool:
    """Whether some condition of `path`, or of what it hangs on, names `name`."""
    return name in space[path].when or any(_hangs_on(space, one, name) for one in space[path].when if one in space)


def _check_conditions(spec: ExperimentSpec, path: str) -> None:
    """Each condition names a field, and a value that its own choice offers."""
    space = spec.search.space
    for name, wanted in space[path].when.items():
        if name not in space:
            get_path(spec.run, name)
            continue
        other = space[name]
        for value in wanted if isinstance(wanted, list) else [wanted]:
            if not isinstance(other, Choice) or value not in other.values:
                raise ExperimentError(f"search.space.{path}: its condition {name}: {value!r} never holds")


def _mapping(value: Any, place: str) -> dict[str, Any]:
    """A section that may be left out or empty."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ExperimentError(f"{place}: a mapping is wanted, not {value!r}")
    return value


def _with_sets(spec: ExperimentSpec, sets: Sequence[str], name: str) -> ExperimentSpec:
    """Every `path=value` laid on the spec, checked as a whole: two that only fit together are fine."""
    dumped = spec.model_dump(mode="json")
    for text in sets:
        path, equals, raw = text.partition("=")
        if not equals or not path:
            raise ExperimentError(f"--set {text!r}: write it as path=value, e.g. run.method.temperature=2")
        try:
            set_in(dumped, path.strip(), parse(raw), spec)
        except ExperimentError as error:
            raise ExperimentError(f"--set {error}") from error
        except yaml.YAMLError as error:
            raise ExperimentError(f"--set {text!r}: the value is not YAML") from error
        with suppress(ValidationError):  # the last one settles it
            spec = ExperimentSpec.model_validate(dumped)
            dumped = spec.model_dump(mode="json")
    return validated(dumped, f"{name} with --set {' --set '.join(sets)}")


def _prune_space(data: dict[str, Any]) -> dict[str, Any]:
    search = data.get("search")
    if isinstance(search, dict) and isinstance(search.get("space"), dict):
        space = {path: entry for path, entry in search["space"].items() if entry is not None}
        return {**data, "search": {**search, "space": space}}
    return data


def _folder() -> Any:
    return files("search_spaces")


def _text(name: str) -> tuple[str, str]:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ExperimentError(f"{name}: there is no such file; `orch check` lists the experiments by name")
        try:
            return path.read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise ExperimentError(f"{name}: cannot be read as UTF-8 text: {error}") from error
    if name not in names():
        raise ExperimentError(
            f"no experiment {name!r}; there are {', '.join(names())}, or give the path of a YAML file"
        )
    return (_folder() / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml"
