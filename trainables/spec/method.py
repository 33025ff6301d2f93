"""The methods as data: a class per method whose defaults are the vetted setting.

A method says what it needs of the transfer set and how long its dev score says nothing yet, so that whoever plans
a run asks the spec and never which method it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Fraction, Modality, Positive, Spec
from trainables.spec.needs import Needs
from trainables.spec.schedule import Schedule, ScheduleField, TemperatureField, is_used
from trainables.spec.terms import Regulariser, Terms

_NO_BOTTOM = (
    "weighting: homoscedastic lets a term below 0 weigh ever more, and {} mine is one; take bce, info_nce, or "
    "weighting: fixed"
)


class Curriculum(Spec):
    """Which samples are used when (methods reference, section 4.4): easy ones first."""

    type: Literal["none", "teacher_nll", "rater_disagreement"] = "none"
    """How hard a sample is: the teacher's surprise at its label, or how few raters chose it."""
    pacing: Literal["hard", "soft"] = "hard"
    """`hard`: only the easiest fraction, by class quota; `soft`: every sample, weighted by a sigmoid."""
    start_fraction: Annotated[float, Field(gt=0, le=1)] = 0.3
    grow: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Fraction of training after which every sample is used with full weight."""
    power: Positive = 1.0
    softness: Positive = 0.5
    """Width in nats of the sigmoid of the soft pacing."""

    @property
    def needs(self) -> Needs:
        return Needs(logits=self.type == "teacher_nll", votes=self.type == "rater_disagreement")


class AnyMethod(Spec):
    """What every method says of itself."""

    single_worker: ClassVar[bool] = False
    """Whether it must see the whole batch in one process (one that differentiates through a step does)."""

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        """What it reads of the transfer set, for a student of these modalities."""
        return Needs()

    def silent_epochs(self, epochs: int) -> int:
        """The epochs, of so many, before the first whose dev score counts."""
        return 0


class Supervised(AnyMethod):
    """Hard labels alone: the control of every sweep. Students with several members learn each from the labels."""

    type: Literal["supervised"] = "supervised"


class Teaching(AnyMethod):
    """What the methods that teach share: further terms, how terms are weighed, the curriculum."""

    terms: Terms = Terms()
    """Further terms beside the method's own."""
    weighting: Literal["fixed", "homoscedastic"] = "fixed"
    """`homoscedastic`: every term is weighed by a learned variance besides (Kendall et al., CVPR 2018)."""
    curriculum: Curriculum = Curriculum()

    @model_validator(mode="after")
    def _bounded(self) -> Teaching:
        pairs = self.terms.pairs
        if self.weighting == "homoscedastic" and pairs.enabled and pairs.estimator == "mine":
            raise ValueError(_NO_BOTTOM.format("terms.pairs.estimator"))
        return self

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        return self.terms.needs | self.curriculum.needs


class Distil(Teaching):
    """The labels and whichever terms are enabled: the frame in which terms are compared with each other."""

    type: Literal["distil"] = "distil"
    label_weight: ScheduleField = Schedule(start=1.0)
    """Weight of the cross-entropy with the labels."""


class CMD(Teaching):
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

    @model_validator(mode="after")
    def _alpha(self) -> CMD:
        if max(self.kd_weight.start, self.kd_weight.end or 0.0) > 1:
            raise ValueError("kd_weight above 1 would weigh the labels below 0; keep it within [0, 1]")
        return self

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        own = Needs(
            logits=is_used(self.kd_weight),
            pooled=is_used(self.self_weight) or (is_used(self.cross_weight) and len(modalities) > 1),
            attention=is_used(self.attention_weight),
        )
        return own | super().needs(modalities)

    def silent_epochs(self, epochs: int) -> int:
        if self.phases != "two_phase":
            return 0
        # Progress goes from 0 in the first epoch to 1 in the last; the phase lasts while it is below phase_one.
        return math.ceil(min(self.phase_one, 1.0) * (epochs - 1))


class MetaKnowledge(Teaching):
    """S4: supervised contrast, and distillation whose temperature and weight are learned (section 4.4).

    Re-implemented from the abstract: MKD and CTKD are the readings of its "meta-knowledge" and "curriculum".
    """

    type: Literal["meta_knowledge"] = "meta_knowledge"
    kd_weight: ScheduleField = Schedule(start=0.5)
    """Alpha of (1 - alpha) CE + alpha KD: where learning it starts, or its schedule where it is not learned."""
    temperature: TemperatureField = Schedule(start=4.0)
    contrast_weight: ScheduleField = Schedule(start=0.1)
    contrast_temperature: Positive = 0.1
    projection: Count = 128

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        return Needs(logits=True) | super().needs(modalities)


class ContrastiveRegularisation(Teaching):
    """S5 (Qian & Han 2022): (1 - alpha) CE + alpha times the regulariser over pairs across audio and text.

    `three` trains as the authors do: each modality with a classifier of its own, then both together by the
    labels alone, then the regularised loss with a fresh classifier; `joint` has that last stage alone.
    """

    type: Literal["contrastive_regularisation"] = "contrastive_regularisation"
    alpha: ScheduleField = Schedule(start=0.3)
    regulariser: Regulariser = Regulariser()
    stages: Literal["joint", "three"] = "joint"
    before: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Fraction of the epochs that the first two stages share equally (three only)."""

    @model_validator(mode="after")
    def _weights(self) -> ContrastiveRegularisation:
        if max(self.alpha.start, self.alpha.end or 0.0) > 1:
            raise ValueError("alpha above 1 would weigh the labels below 0; keep it within [0, 1]")
        if self.terms.pairs.enabled:
            raise ValueError("terms.pairs is this method's own regulariser; set alpha, and leave the term disabled")
        if self.weighting == "homoscedastic" and self.regulariser.estimator == "mine":
            raise ValueError(_NO_BOTTOM.format("regulariser.estimator"))
        return self

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        return Needs(both=is_used(self.alpha)) | super().needs(modalities)

    def silent_epochs(self, epochs: int) -> int:
        return math.ceil(self.before * (epochs - 1)) if self.stages == "three" else 0


MethodSpec = Annotated[
    CMD | Distil | MetaKnowledge | ContrastiveRegularisation | Supervised, Field(discriminator="type")
]
