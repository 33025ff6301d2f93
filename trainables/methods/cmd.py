"""CMD, cross-modal distillation (Kim & Kang 2022): from the abstract and standard formulations, no reproduction.

Methods reference, section 1.2 (derived). Decisions that it leaves open:
- Pairs of equal text are no negatives in any term with text on either side. In audio against audio they stay:
  the same words said by two voices are two different sounds; and so they do in pictures against pictures.
- One projection a modality on each side serves both contrasts, as in the notation there.
- `two_phase` learns without labels first (but for `positives: same_label`, which asks for them); without a term
  that could teach then, that phase falls away.
- What is seen has no counterpart in the paper: it contrasts with its own teacher alone.
- A student of one modality contrasts with its own modality's teacher and is distilled from the best teacher's
  logits, which is where the other modality's knowledge reaches it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.attention import attention_transfer
from trainables.losses.contrastive import info_nce, same_label_mask, same_text_mask
from trainables.method import Phase, Setting, TeachingMethod
from trainables.schedules import value
from trainables.spec.base import OVER_TIME, Modality
from trainables.spec.method import CMD
from trainables.spec.schedule import is_used
from trainables.students.base import StudentOutput

_OTHER: dict[Modality, Modality] = {"audio": "text", "text": "audio"}


class Projections(nn.Module):
    """q_m: student width -> p and k_m: teacher width -> p, linear, for each modality with a teacher."""

    def __init__(self, student: dict[Modality, int], teacher: dict[Modality, int], width: int) -> None:
        super().__init__()
        self.student = nn.ModuleDict({m: nn.Linear(d, width) for m, d in student.items()})
        self.teacher = nn.ModuleDict({m: nn.Linear(d, width) for m, d in teacher.items()})


class CMDMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, ("ce", "kd", "contrast_self", "contrast_cross", "attention"))
        assert isinstance(setting.run.method, CMD)
        self._spec = setting.run.method
        streams, taught, widths = tuple(setting.widths.pooled), setting.taught, setting.widths
        self._self = taught if is_used(self._spec.self_weight) else ()
        crosses = is_used(self._spec.cross_weight)
        self._cross = tuple(m for m in widths.crossed if crosses and _OTHER.get(m) in taught)
        self._maps = tuple(m for m in taught if m in OVER_TIME) if is_used(self._spec.attention_weight) else ()
        targets = set(self._self) | {_OTHER[m] for m in self._cross}
        self._projections = Projections(
            {m: widths.pooled[m] for m in streams if m in (*self._self, *self._cross)},
            {m: setting.teacher_width(m) for m in streams if m in targets},
            self._spec.projection,
        )
        self.heads["projections"] = self._projections

    def attention(self, progress: float) -> int:
        return self.run.features.attention_grid if self._maps else super().attention(progress)

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        terms = self._representation(output, batch, progress)
        if self.phase(progress) == "classification":
            terms |= self._classification(output, batch, progress)
        return terms

    def phase(self, progress: float) -> Phase:
        first = self._spec.phases == "two_phase" and progress < min(self._spec.phase_one, 1.0)
        return "representation" if first and (self._self or self._cross or self._maps) else "classification"

    def values(self, progress: float) -> dict[str, float]:
        return {"temperature": value(self._spec.temperature, progress), **super().values(progress)}

    def _classification(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        alpha = value(self._spec.kd_weight, progress)
        terms = self.classified(output, batch, 1 - alpha)
        if is_used(self._spec.kd_weight):
            tau = value(self._spec.temperature, progress)
            teacher = batch.teachers[self.setting.best].logits
            terms["kd"] = alpha * self.setting.soft(output.logits, teacher, tau, batch.weights)
        return terms

    def _representation(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        spec, terms = self._spec, dict[str, Tensor]()
        if self._self:
            pairs = [self._contrast(m, m, output.pooled, batch) for m in self._self]
            terms["contrast_self"] = value(spec.self_weight, progress) * torch.stack(pairs).sum()
        if self._cross:
            pairs = [self._contrast(m, _OTHER[m], output.crossed, batch) for m in self._cross]
            terms["contrast_cross"] = value(spec.cross_weight, progress) * torch.stack(pairs).sum()
        if self._maps:
            maps = [attention_transfer(output.attention[m], self._map(batch, m)) for m in self._maps]
            terms["attention"] = value(spec.attention_weight, progress) * torch.stack(maps).sum()
        return terms

    def _contrast(
        self, source: Modality, target: Modality, vectors: dict[Modality, Tensor], batch: Batch
    ) -> Tensor:
        u = self._projections.student[source](vectors[source])
        v = self._projections.teacher[target](batch.teachers[target].pooled)
        negatives = ~same_text_mask(batch.text_hash) if "text" in (source, target) else None
        positives = same_label_mask(batch.labels) if self._spec.positives == "same_label" else None
        return info_nce(u, v, self._spec.contrast_temperature, negatives, positives)

    @staticmethod
    def _map(batch: Batch, modality: Modality) -> Tensor:
        found = batch.teachers[modality].attention
        assert found is not None
        return found
