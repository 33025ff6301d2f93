"""The search space as data: distributions by dotted path into the RunSpec, conditions, and the corner check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import product
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

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
        if self.step is not None:
            _check_step(self.low, self.high, self.step)
        return self

    @property
    def probes(self) -> tuple[Any, ...]:
        """Both ends, and a value between them that is no whole number."""
        inside = self.low + (self.step or 0.382 * (self.high - self.low))
        return (self.low, self.high, inside)


class Int(Conditional):
    type: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False
    step: int = 1

    @model_validator(mode="after")
    def _range(self) -> Int:
        _check_range(self.low, self.high, self.log)
        if self.log and self.step != 1:
            raise ValueError("an int range is either log or stepped: drop `step` or `log`")
        _check_step(self.low, self.high, self.step)
        return self

    @property
    def probes(self) -> tuple[Any, ...]:
        """Both ends, and the value after the lower one."""
        return tuple(dict.fromkeys((self.low, self.high, self.low + self.step)))


class Choice(Conditional):
    type: Literal["choice"] = "choice"
    values: Annotated[list[Scalar], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Choice:
        if len(set(map(repr, self.values))) != len(self.values):
            raise ValueError("a value is there twice")
        return self

    @property
    def probes(self) -> tuple[Any, ...]:
        return tuple(self.values)


Distribution = Annotated[Float | Int | Choice, Field(discriminator="type")]
Space = dict[str, Distribution]

_UNIONS = ("alignment", "corpus", "encoder", "fusion", "method", "scheduler", "student")
"""The fields whose class is chosen by `type`."""
_TOLERANCE = 1e-8
"""Of a multiple of a step, as Optuna has it."""


def _check_range(low: float, high: float, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low {low} is not below high {high}; for one value use --set or a choice")
    if log and low <= 0:
        raise ValueError(f"a log range starts above 0, not at {low}")


def _check_step(low: float, high: float, step: float) -> None:
    if step <= 0:
        raise ValueError(f"step {step} is not above 0")
    if not _on_grid(high - low, step):
        raise ValueError(f"high {high} is no whole number of steps of {step} above low {low}")


def _on_grid(distance: float, step: float) -> bool:
    return abs(distance / step - round(distance / step)) < _TOLERANCE


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
            raise ExperimentError(_no_field(path, part, type(value)))
        value = getattr(value, part)
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def fixed_values(space: Space, run: RunSpec) -> dict[str, Any]:
    """The run's own values at the paths that conditions name and nobody searches; a path it lacks is left out."""
    found = {}
    for path in {name for one in space.values() for name in one.when if name not in space}:
        with suppress(ExperimentError):
            found[path] = get_path(run, path)
    return found


def with_values(run: RunSpec, values: Mapping[str, Any]) -> RunSpec:
    """The run with values set at dotted paths (relative to the run), checked as a whole.

    Their order does not matter: what chooses a class comes before what lies below it, and each field that is not
    named has the class's own default.
    """
    data = run.model_dump(mode="json")
    for path in sorted(values, key=_outermost_first):
        set_in(data, path, values[path], run)
    try:
        return RunSpec.model_validate(data)
    except ValidationError as error:
        raise ExperimentError(first_fault(error, "run")) from error


def _outermost_first(path: str) -> tuple[int, bool]:
    return path.count("."), path.rpartition(".")[2] != "type"


def set_in(data: dict[str, Any], path: str, value: Any, model: BaseModel) -> None:
    """Set `path` in the dumped `model`, of whatever classes `data` now is; a path without a field is refused."""
    *parents, last = path.split(".")
    node: Any = data
    kind: type[BaseModel] | None = type(model)
    for part in parents:
        _filled(node, part, kind, path)
        if node[part] is None:
            raise ExperimentError(f"path {path!r}: {part} is null here; set {part} as a whole")
        node, kind = node[part], _class_at(kind, part, node[part])
    _filled(node, last, kind, path)
    if last == "type" and value != node[last] and kind is not None and _type_of(kind) is not None:
        node.clear()  # the fields of another class mean nothing to this one
    node[last] = value


def _filled(node: Any, part: str, kind: type[BaseModel] | None, path: str) -> None:
    """See to it that `node` has the field: a section given in part is its class's defaults for the rest."""
    if isinstance(node, dict) and part in node:
        return
    if not isinstance(node, dict) or kind is None or part not in kind.model_fields:
        raise ExperimentError(_no_field(path, part, kind))
    default = kind.model_fields[part].get_default(call_default_factory=True)
    node[part] = default.model_dump(mode="json") if isinstance(default, BaseModel) else default


def _class_at(kind: type[BaseModel] | None, part: str, value: Any) -> type[BaseModel] | None:
    """The class of a field's value; of several that the field allows, the one that its `type` names."""
    if kind is None or not isinstance(value, dict) or part not in kind.model_fields:
        return None
    classes = list(_classes(kind.model_fields[part].annotation))
    if len(classes) == 1:
        return classes[0]
    return next((one for one in classes if _type_of(one) == value.get("type")), None)


def _classes(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models of an annotation such as `A`, `A | None` or `Annotated[A | B, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for part in get_args(annotation):
            yield from _classes(part)


def _type_of(kind: type[BaseModel]) -> str | None:
    """The one `type` of a class; None where it has none, or where `type` is merely one of its settings."""
    field = kind.model_fields.get("type")
    names = get_args(field.annotation) if field else ()
    return names[0] if len(names) == 1 else None


def corners(space: Space, run: RunSpec) -> Iterator[tuple[str, Any, RunSpec]]:
    """(path, value, run) at each probe of each range and at each choice, its conditions made true.

    A path that several classes have is probed in each of them. Raises ExperimentError naming path and value where
    no RunSpec can be built.
    """
    for path in ordered(space):
        for context in _contexts(space, path):
            for value in space[path].probes:
                try:
                    yield path, value, with_values(run, {**context, path: value})
                except ExperimentError as error:
                    raise ExperimentError(f"search.space.{path} at {value!r}: {error}") from error


def _contexts(space: Space, path: str) -> Iterator[dict[str, Any]]:
    """What to set so that the conditions of `path` hold: every `type` that is allowed, else the first value."""
    reasons = {name: wanted if isinstance(wanted, list) else [wanted] for name, wanted in _reasons(space, path)}
    values = [wanted if name.endswith("type") else wanted[:1] for name, wanted in reasons.items()]
    for chosen in product(*values):
        yield dict(zip(reasons, chosen, strict=True))


def _reasons(space: Space, path: str) -> Iterator[tuple[str, Any]]:
    """Every condition that `path` stands under, the outermost first."""
    for name in space[path].when:
        if name in space:
            yield from _reasons(space, name)
    yield from space[path].when.items()


def default_point(space: Space, run: RunSpec) -> dict[str, Any]:
    """The run's own values at the searched paths whose conditions hold; out-of-range ones are left out.

    A path that only another class has is left out as well.
    """
    point: dict[str, Any] = {}
    seen = fixed_values(space, run)
    for path in ordered(space):
        distribution = space[path]
        if not active(distribution, seen):
            continue  # nor is anything active whose condition names it
        with suppress(ExperimentError):
            value = get_path(run, path)
            seen[path] = value
            if _contains(distribution, value):
                point[path] = value
    return point


def _contains(distribution: Distribution, value: Any) -> bool:
    if isinstance(distribution, Choice):
        return value in distribution.values
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if distribution.step is not None and not _on_grid(value - distribution.low, distribution.step):
        return False
    return distribution.low <= value <= distribution.high


def first_fault(error: ValidationError, root: str) -> str:
    """One sentence of a validation error: where, what, and which value."""
    fault = error.errors(include_url=False)[0]
    place = ".".join(part for part in (root, *_path(fault["loc"])) if part != "")
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "extra_forbidden":
        return f"{place}: there is no such field; `orch schema` lists the fields"
    if not place:
        return message
    if isinstance(fault.get("input"), (str, int, float, bool)):
        return f"{place}: {message} (given: {fault['input']!r})"
    return f"{place}: {message}"


def _path(location: tuple[int | str, ...]) -> Iterator[str]:
    """The parts of a path as a user writes it: pydantic puts the class after each field that has several."""
    before: int | str = ""
    for part in location:
        if before not in _UNIONS and part != "[key]":
            yield str(part)
        before = part


def _no_field(path: str, part: str, kind: Any) -> str:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return f"path {path!r}: nothing lies below {part!r}"
    fields = ", ".join(sorted(kind.model_fields))
    return f"path {path!r}: no field {part!r}; fields are {fields}"
