"""The search space as data: distributions by dotted path into the RunSpec, conditions, and the corner check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from orchestrator.errors import ExperimentError
from trainables.spec import RunSpec, Spec

Scalar = bool | int | float | str | None


class Conditional(Spec):
    when: dict[str, Scalar | list[Scalar]] = {}
    """Searched only while every named path has the value (or one of the values) given."""


class Float(Conditional):
    type: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _range(self) -> Float:
        _check_range(self.low, self.high, self.log)
        if self.log and self.step is not None:
            raise ValueError("a float range is either log or stepped: drop `step` or `log`")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)


class Int(Conditional):
    type: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = 1

    @model_validator(mode="after")
    def _range(self) -> Int:
        _check_range(self.low, self.high, self.log)
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)


class Choice(Conditional):
    type: Literal["choice"] = "choice"
    values: Annotated[list[Scalar], Field(min_length=1)]

    @property
    def ends(self) -> tuple[Any, ...]:
        return tuple(self.values)


Distribution = Annotated[Float | Int | Choice, Field(discriminator="type")]
Space = dict[str, Distribution]


def _check_range(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low {low} is not below high {high}; for one value use --set or a choice")
    if log and low <= 0:
        raise ValueError(f"a log range starts above 0, not at {low}")


def active(distribution: Distribution, values: Mapping[str, Any]) -> bool:
    """Whether the conditions hold in these values (by dotted path)."""
    for path, wanted in distribution.when.items():
        allowed = wanted if isinstance(wanted, list) else [wanted]
        if path not in values or values[path] not in allowed:
            return False
    return True


def ordered(space: Space) -> list[str]:
    """The paths, each after those that its conditions name."""
    done: list[str] = []
    waiting = dict(space)
    while waiting:
        ready = [path for path, d in waiting.items() if not any(name in waiting for name in d.when)]
        if not ready:
            raise ExperimentError(f"search.space: conditions of {sorted(waiting)} go in a circle")
        for path in ready:
            done.append(path)
            del waiting[path]
    return done


def get_path(model: BaseModel, path: str) -> Any:
    """The value at a dotted path, JSON-like; raises ExperimentError naming the fields that there are."""
    value: Any = model
    for part in path.split("."):
        if not isinstance(value, BaseModel) or part not in type(value).model_fields:
            raise ExperimentError(_no_field(path, part, value))
        value = getattr(value, part)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def with_values(run: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """The run with values set at dotted paths (relative to the run), checked as a whole."""
    data = run.model_dump(mode="json")
    for path, value in values.items():
        set_in(data, path, value, run)
    try:
        return RunSpec.model_validate(data)
    except ValidationError as error:
        raise ExperimentError(first_fault(error, "run")) from error


def set_in(data: dict[str, Any], path: str, value: Any, model: BaseModel) -> None:
    """Set `path` in the dumped `model`; a path that the model has no field for is refused."""
    *parents, last = path.split(".")
    node: Any = data
    described: Any = model
    for part in parents:
        if not isinstance(node, dict) or part not in node:
            raise ExperimentError(_no_field(path, part, described))
        if node[part] is None:
            raise ExperimentError(f"path {path!r}: {part} is null here; set {part} as a whole")
        node, described = node[part], getattr(described, part, None)
    if not isinstance(node, dict) or (last not in node):
        raise ExperimentError(_no_field(path, last, described))
    node[last] = value


def corners(space: Space, run: RunSpec) -> Iterator[tuple[str, Any, RunSpec]]:
    """(path, value, run) at each end of each range and at each choice, its conditions made true.

    Raises ExperimentError naming path and value where no RunSpec can be built.
    """
    for path in ordered(space):
        distribution = space[path]
        context = {
            name: wanted[0] if isinstance(wanted, list) else wanted for name, wanted in _reasons(space, path)
        }
        for value in distribution.ends:
            try:
                yield path, value, with_values(run, {**context, path: value})
            except ExperimentError as error:
                raise ExperimentError(f"search.space.{path} at {value!r}: {error}") from error


def _reasons(space: Space, path: str) -> Iterator[tuple[str, Any]]:
    """Every condition that `path` stands under, the outermost first."""
    for name, wanted in space[path].when.items():
        if name in space:
            yield from _reasons(space, name)
        yield name, wanted


def default_point(space: Space, run: RunSpec) -> dict[str, Any]:
    """The run's own values at the searched paths whose conditions hold; out-of-range ones are left out."""
    point: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    for path in ordered(space):
        value = get_path(run, path)
        distribution = space[path]
        context = {name: get_path(run, name) for name in distribution.when}
        seen[path] = value
        if active(distribution, context) and _contains(distribution, value):
            point[path] = value
    return point


def _contains(distribution: Distribution, value: Any) -> bool:
    if isinstance(distribution, Choice):
        return value in distribution.values
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return distribution.low <= value <= distribution.high


def first_fault(error: ValidationError, root: str) -> str:
    """One sentence of a validation error: where, what, and which value."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in (root, *fault["loc"]) if part != "")
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such field; `orch schema` lists the fields"
    if isinstance(fault.get("input"), (str, int, float, bool)):
        return f"{place}: {message} (given: {fault['input']!r})"
    return f"{place}: {message}"


def _no_field(path: str, part: str, model: Any) -> str:
    if not isinstance(model, BaseModel):
        return f"path {path!r}: nothing lies below {part!r}"
    fields = ", ".join(sorted(type(model).model_fields))
    return f"path {path!r}: no field {part!r}; fields are {fields}"
