"""Schedules over training as data; the arithmetic is in `trainables.schedules`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, model_validator

from trainables.spec.base import Count, NonNegative, Spec


class Schedule(Spec):
    """A value that moves from `start` to `end` while progress goes from 0 to 1."""

    shape: Literal["constant", "linear", "cosine", "exponential", "step"] = "constant"
    start: NonNegative
    end: NonNegative | None = None
    """The value at the end of training; needed by every shape but `constant`."""
    steps: Count = 3
    """Number of equal plateaus of the `step` shape."""

    @model_validator(mode="after")
    def _ends(self) -> Schedule:
        if self.shape != "constant" and self.end is None:
            raise ValueError(f"a {self.shape} schedule needs `end`; for a fixed value use shape: constant")
        if self.shape == "exponential" and (self.start <= 0 or (self.end or 0) <= 0):
            raise ValueError("an exponential schedule needs start and end above 0; use linear to reach 0")
        return self


def _from_number(value: Any) -> Any:
    """A bare number is the constant schedule of that value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"shape": "constant", "start": value}
    return value


def _temperature(value: Schedule) -> Schedule:
    if value.start <= 0 or (value.end is not None and value.end <= 0):
        raise ValueError("a temperature is above 0 at both ends")
    return value


_Number = BeforeValidator(_from_number, json_schema_input_type=NonNegative | Schedule)
ScheduleField = Annotated[Schedule, _Number]
TemperatureField = Annotated[Schedule, _Number, AfterValidator(_temperature)]


def is_used(schedule: Schedule) -> bool:
    """Whether a weight is above 0 at any time."""
    return schedule.start > 0 or (schedule.end or 0.0) > 0
