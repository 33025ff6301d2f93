"""The distillation terms as data: any of them beside any method, each with a weight that may be scheduled.

Formulas and defaults: methods reference, section 6.1. The runtime of each is in `trainables.terms`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from trainables.spec.base import Count, NonNegative, Positive, Probability, Spec
from trainables.spec.needs import Needs, together
from trainables.spec.schedule import Schedule, ScheduleField, TemperatureField


class Term(Spec):
    """One summand of the loss."""

    needs: ClassVar[Needs] = Needs()

    enabled: bool = False
    weight: ScheduleField = Schedule(start=1.0)


class KD(Term):
    """Hinton, Vinyals & Dean 2015: tau^2 KL to the best teacher's softened logits; of several labels, to each."""

    needs: ClassVar[Needs] = Needs(logits=True)

    temperature: TemperatureField = Schedule(start=4.0)


class DKD(Term):
    """Decoupled KD (Zhao et al., CVPR 2022): the target class and the others apart."""

    needs: ClassVar[Needs] = Needs(logits=True, one_label=True)

    alpha: NonNegative = 1.0
    """Weight of the target class's part."""
    beta: NonNegative = 2.0
    """Weight of the other classes' part."""
    temperature: TemperatureField = Schedule(start=4.0)


class DIST(Term):
    """Huang et al., NeurIPS 2022: Pearson correlation within samples and within classes."""

    needs: ClassVar[Needs] = Needs(logits=True, one_label=True)

    inter: NonNegative = 1.0
    intra: NonNegative = 1.0
    temperature: TemperatureField = Schedule(start=4.0)


class Hint(Term):
    """FitNets (Romero et al., ICLR 2015): regress the teacher's pooled vector, a modality at a time."""

    needs: ClassVar[Needs] = Needs(pooled=True)


class AttentionTransfer(Term):
    """Zagoruyko & Komodakis, ICLR 2017, on self-attention maps: a modality at a time."""

    needs: ClassVar[Needs] = Needs(attention=True)


class RKD(Term):
    """Relational KD (Park et al., CVPR 2019): distances and angles among the batch's embeddings."""

    needs: ClassVar[Needs] = Needs(best_pooled=True)

    distance: NonNegative = 25.0
    angle: NonNegative = 50.0


class CRD(Term):
    """Contrastive representation distillation (Tian et al., ICLR 2020) with a bank of both sides' vectors."""

    needs: ClassVar[Needs] = Needs(best_pooled=True)

    projection: Count = 128
    negatives: Annotated[int, Field(ge=1, le=1024)] = 256
    temperature: Positive = 0.07
    momentum: Probability = 0.5


class SupCon(Term):
    """Supervised contrast among the student's own embeddings (Khosla et al., NeurIPS 2020)."""

    needs: ClassVar[Needs] = Needs(one_label=True)

    projection: Count = 128
    temperature: Positive = 0.1


class InfoNCE(Term):
    """Contrast of the student's embedding with the best teacher's pooled vector, utterance by utterance."""

    needs: ClassVar[Needs] = Needs(best_pooled=True)

    projection: Count = 128
    temperature: Positive = 0.1


class Regulariser(Spec):
    """S5's regulariser over pairs of audio and text of the same and of different emotions (section 5)."""

    estimator: Literal["bce", "mine", "info_nce"] = "bce"
    """`bce`: a discriminator of the two kinds (the paper's); `mine`: Donsker and Varadhan's bound; `info_nce`: the
    text foretold from the audio, among the batch's texts."""
    negatives: Literal["label", "shuffle"] = "label"
    """`label`: pairs of different emotions; `shuffle`: whatever another order of the batch brings (ablation)."""
    hidden: Count = 256


class Pairs(Term, Regulariser):
    """S5's regulariser beside any method; with one modality there is nothing to pair, and it falls away."""

    needs: ClassVar[Needs] = Needs(both=True, one_label=True)


class Terms(Spec):
    """Every term there is; those enabled are added to the method's own loss."""

    kd: KD = KD()
    dkd: DKD = DKD()
    dist: DIST = DIST()
    hint: Hint = Hint()
    attention: AttentionTransfer = AttentionTransfer()
    rkd: RKD = RKD()
    crd: CRD = CRD()
    supcon: SupCon = SupCon()
    info_nce: InfoNCE = InfoNCE()
    pairs: Pairs = Pairs()

    @property
    def enabled(self) -> Iterator[tuple[str, Term]]:
        """(name, term), in the order of the fields."""
        for name in type(self).model_fields:
            term: Term = getattr(self, name)
            if term.enabled:
                yield name, term

    @property
    def needs(self) -> Needs:
        return together(*(term.needs for _, term in self.enabled))
