"""The base of every specification: frozen, unknown keys refused, no NaN, no infinity."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Modality = Literal["audio", "text", "visual"]
MODALITIES: tuple[Modality, ...] = ("audio", "text", "visual")
"""In the order that streams have everywhere, whatever theirs in a spec: the same spec means the same weights."""
TeacherName = Literal["audio", "text", "visual", "fusion"]
OVER_TIME: tuple[TeacherName, ...] = ("audio", "text")
"""The teachers that attend over time, and have maps of it to give: an image encoder attends over patches."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def in_order(modalities: Collection[str]) -> tuple[Modality, ...]:
    """Those of MODALITIES that are among them, in the order that streams have everywhere."""
    return tuple(m for m in MODALITIES if m in modalities)


class Spec(BaseModel):
    """A frozen value of configuration; equal specs have equal canonical JSON and so equal fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
