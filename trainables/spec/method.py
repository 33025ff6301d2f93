"""The methods as data: a class per method whose defaults are the vetted setting."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Fraction, Positive, Spec
from trainables.spec.schedule import Schedule, ScheduleField, TemperatureField


class Curriculum(Spec):
    """Which samples are used when (methods reference, section 4.4): easy ones first."""

    type: Literal["none", "teacher_nll"] = "none"
    pacing: Literal["hard", "soft"] = "hard"
    """`hard`: only the easiest fraction, by class quota; `soft`: every sample, weighted by a sigmoid."""
    start_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    grow: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of training after which every sample is used with full weight."""
    power: Positive = 1.0
    softness: Positive = 0.5
    """Width in nats of the sigmoid of the soft pacing."""


class Supervised(Spec):
    """Hard labels alone: the control of every sweep."""

    type: Literal["supervised"] = "supervised"


class CMD(Spec):
    """Cross-modal distillation (Kim & Kang 2022), from the abstract and standard formulations.

    `two_phase` first learns the representation by contrast with the teachers (no labels), then the
    classifier by cross-entropy and logit distillation; `joint` does all at once. Every default that the
    abstract does not give is derived.
    """

    type: Literal["cmd"] = "cmd"
    phases: Literal["two_phase", "joint"] = "two_phase"
    phase_one: Fraction = 0.2
    """Fraction of the epochs spent on the representation alone (two_phase only)."""
    self_weight: ScheduleField = Schedule(start=0.25)
    """Weight of the contrast within a modality: student audio with teacher audio, text with text."""
    cross_weight: ScheduleField = Schedule(start=0.25)
    """Weight of the contrast across modalities, on the cross-attended streams."""
    contrast_temperature: Positive = 0.1
    projection: Count = 128
    """Width of the space in which student and teacher are compared."""
    positives: Literal["instance", "same_label"] = "instance"
    kd_weight: ScheduleField = Schedule(start=0.5)
    """Weight alpha of the logit distillation; the cross-entropy weighs 1 - alpha."""
    temperature: TemperatureField = Schedule(start=2.0)
    attention_weight: ScheduleField = Schedule(start=0.0)
    """Weight of the attention transfer; above 0 it needs the teachers' attention maps."""
    curriculum: Curriculum = Curriculum()

    @model_validator(mode="after")
    def _alpha(self) -> CMD:
        if max(self.kd_weight.start, self.kd_weight.end or 0.0) > 1:
            raise ValueError("kd_weight above 1 would weigh the labels below 0; keep it within [0, 1]")
        return self


MethodSpec = Annotated[CMD | Supervised, Field(discriminator="type")]
