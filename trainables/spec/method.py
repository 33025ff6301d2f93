"""The methods as data: a class per method whose defaults are the vetted setting.

A method says what it needs of the transfer set and how long its dev score says nothing yet, so that whoever plans
a run asks the spec and never which method it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Fraction, Modality, Positive, Spec, in_order
from trainables.spec.meta import ALPHA_RANGE, CTKD, TAU_RANGE, Learned, MetaStep
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
        return Needs(
            logits=self.type == "teacher_nll",
            votes=self.type == "rater_disagreement",
            one_label=self.type != "none",
        )


class AnyMethod(Spec):
    """What every method says of itself."""

    single_worker: ClassVar[bool] = False
    """Whether it must see the whole batch in one process (one that differentiates through a step does)."""

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        """What it reads of the transfer set, for a student of these modalities."""
        return Needs()

    def inputs(self, modalities: Sequence[Modality]) -> tuple[tuple[Modality, ...], ...]:
        """The sets of modalities on which dev scores are taken, the mean of which chooses the epoch."""
        return (tuple(modalities),)

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
            one_label=self.positives == "same_label",
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
    A weight of 0 takes its term out, learned or not.
    """

    single_worker: ClassVar[bool] = True

    type: Literal["meta_knowledge"] = "meta_knowledge"
    kd_weight: ScheduleField = Schedule(start=0.5)
    """Alpha of (1 - alpha) CE + alpha KD: where learning it starts, or its schedule where it is not learned."""
    temperature: TemperatureField = Schedule(start=4.0)
    """Of `temperature_source: schedule`; where `meta` starts."""
    temperature_source: Literal["schedule", "ctkd_global", "ctkd_instance", "meta"] = "ctkd_global"
    """`ctkd_global`, `ctkd_instance`: one, or one an utterance, that makes the distillation harder; `meta`: one of
    the student and one of the teacher, that lower the loss on held-out rows."""
    contrast_weight: ScheduleField = Schedule(start=0.1)
    """Of the supervised contrast; where learning it starts."""
    contrast_temperature: Positive = 0.1
    projection: Count = 128
    learned: tuple[Learned, ...] = ("kd_weight", "contrast_weight")
    """What the meta step learns; `temperature_source: meta` adds the temperatures."""
    meta: MetaStep = MetaStep()
    ctkd: CTKD = CTKD()
    teacher: Literal["stored", "live"] = "stored"
    """`live`: MetaDistil's (Zhou et al., ACL 2022): the meta step corrects the teacher's logits, too."""
    soft_loss: Literal["kl", "mse"] = "kl"
    """`mse`: MetaDistil's, of the softened probabilities."""

    @model_validator(mode="after")
    def _temperatures(self) -> MetaKnowledge:
        source, tau = self.temperature_source, self.temperature
        if "temperature" in self.learned and source.startswith("ctkd"):
            raise ValueError(
                f"learned: temperature beside temperature_source: {source}: the meta step would lower a loss by "
                "what CTKD raises it with; with both, CTKD takes the temperature and the meta step "
                "learned: [kd_weight, contrast_weight]; to learn it by the meta step, set temperature_source: meta"
            )
        if "temperature" in self.learned and source == "schedule":
            raise ValueError("learned: temperature beside temperature_source: schedule; set the latter to meta")
        if source != "schedule" and tau.shape != "constant":
            raise ValueError(
                f"temperature.shape {tau.shape}: temperature_source: {source} follows no schedule; "
                "set temperature_source: schedule, or shape: constant"
            )
        if "temperature" in self.by_meta and not TAU_RANGE[0] <= tau.start <= TAU_RANGE[1]:
            raise ValueError(f"temperature {tau.start}: learned, it stays within {list(TAU_RANGE)}; start there")
        if source == "meta" and self.soft_loss == "mse":
            raise ValueError(
                "soft_loss: mse has one temperature, and temperature_source: meta learns two; use soft_loss: kl, "
                "or another source"
            )
        return self

    @model_validator(mode="after")
    def _weights(self) -> MetaKnowledge:
        if len(set(self.learned)) != len(self.learned):
            raise ValueError(f"learned {list(self.learned)}: name each at most once")
        alpha = self.kd_weight
        if max(alpha.start, alpha.end or 0.0) > 1:
            raise ValueError("kd_weight above 1 would weigh the labels below 0; keep it within [0, 1]")
        for name in ("kd_weight", "contrast_weight"):
            shape = getattr(self, name).shape
            if name in self.by_meta and shape != "constant":
                raise ValueError(
                    f"{name}.shape {shape}: the meta step learns it from `start`; set shape: constant, or take "
                    f"{name} out of learned"
                )
        if "kd_weight" in self.by_meta and not ALPHA_RANGE[0] <= alpha.start <= ALPHA_RANGE[1]:
            raise ValueError(
                f"kd_weight {alpha.start}: learned, it stays within {list(ALPHA_RANGE)}; start there, or take "
                "kd_weight out of learned"
            )
        return self

    @property
    def by_meta(self) -> frozenset[Learned]:
        """What the meta step does learn: of terms that are there, while it is enabled."""
        if not self.meta.enabled:
            return frozenset()
        wanted = {*self.learned, *(("temperature",) if self.temperature_source == "meta" else ())}
        if not is_used(self.kd_weight):
            wanted -= {"kd_weight", "temperature"}
        if not is_used(self.contrast_weight):
            wanted -= {"contrast_weight"}
        return frozenset(wanted)

    @property
    def corrects_teacher(self) -> bool:
        return self.teacher == "live" and self.meta.enabled and is_used(self.kd_weight)

    @property
    def looks_ahead(self) -> bool:
        """Whether there is a meta step, and so rows are held out for it."""
        return bool(self.by_meta) or self.corrects_teacher

    def needs(self, modalities: Sequence[Modality]) -> Needs:
        own = Needs(logits=is_used(self.kd_weight), best_pooled=self.corrects_teacher, one_label=True)
        return own | super().needs(modalities)


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
        return Needs(both=is_used(self.alpha), one_label=True) | super().needs(modalities)

    def silent_epochs(self, epochs: int) -> int:
        return math.ceil(self.before * (epochs - 1)) if self.stages == "three" else 0


class CoLearning(Teaching):
    """S3, interactive co-learning (Takashima et al. 2022): one student learns to do with whatever is there.

    Derived from the abstract (methods reference, section 3.2). The student runs on the whole input and on parts of
    it, with the labels for each; `joint` leaves it at that, `distil` has the parts follow the whole (both ->
    either), `interactive` has the whole follow the parts besides (either -> both), and `dropout` runs on one input
    a batch, drawn at random. What follows never moves what is followed.
    """

    type: Literal["co_learning"] = "co_learning"
    mode: Literal["joint", "distil", "interactive", "dropout"] = "interactive"
    parts: Literal["single", "every"] = "every"
    """`single`: each modality alone; `every`: every subset of them (of two modalities the same)."""
    part_weight: ScheduleField = Schedule(start=1.0)
    """Weight of the labels' loss on the parts, each a share of it; on the whole it is 1."""
    to_parts: ScheduleField = Schedule(start=0.5)
    """Beta, of the whole's word to its parts (distil and interactive)."""
    to_whole: ScheduleField = Schedule(start=0.25)
    """Gamma, of the parts' word to the whole (interactive)."""
    mutual: ScheduleField = Schedule(start=0.0)
    """Delta, of single modalities' word to each other (interactive)."""
    temperature: TemperatureField = Schedule(start=2.0)

    def inputs(self, modalities: Sequence[Modality]) -> tuple[tuple[Modality, ...], ...]:
        return subsets(modalities, self.parts)


def subsets(modalities: Sequence[Modality], parts: Literal["single", "every"]) -> tuple[tuple[Modality, ...], ...]:
    """The whole, then its parts: of `every` the larger ones first, each in the order of MODALITIES."""
    ordered = in_order(modalities)
    sizes = range(len(ordered) - 1, 0, -1) if parts == "every" else range(min(1, len(ordered) - 1), 0, -1)
    return (ordered, *(part for size in sizes for part in combinations(ordered, size)))


MethodSpec = Annotated[
    CMD | Distil | MetaKnowledge | ContrastiveRegularisation | CoLearning | Supervised,
    Field(discriminator="type"),
]
