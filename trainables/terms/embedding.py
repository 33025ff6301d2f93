"""Terms on the student's embedding: alone, or against the best teacher's pooled vector."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.contrastive import info_nce, same_text_mask, sup_con
from trainables.losses.relational import rkd_angle, rkd_distance
from trainables.spec.terms import RKD, InfoNCE, SupCon
from trainables.students.base import StudentOutput
from trainables.terms.base import Setting, TermLoss

ANGLES = 128
"""Rows that are compared by angle: time and memory grow with their cube."""


class RKDLoss(TermLoss):
    def __init__(self, spec: RKD, setting: Setting) -> None:
        super().__init__()
        self._spec, self._best = spec, setting.best

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        own, teacher = output.embedding, batch.teachers[self._best].pooled
        # A batch is sorted by length: every n-th row is a fair sample of it, the first rows are not.
        step = -(-len(own) // ANGLES)
        angle = rkd_angle(own[::step], teacher[::step])
        return self._spec.distance * rkd_distance(own, teacher) + self._spec.angle * angle


class SupConLoss(TermLoss):
    """On a projection of two layers, as in the paper."""

    def __init__(self, spec: SupCon, setting: Setting) -> None:
        super().__init__()
        self._spec, width = spec, setting.widths.embedding
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, spec.projection))

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        u = self.project(output.embedding)
        return sup_con(u, batch.labels, self._spec.temperature, weights=batch.weights)


class InfoNCELoss(TermLoss):
    """A linear projection of each side; utterances of equal text are no negatives of each other."""

    def __init__(self, spec: InfoNCE, setting: Setting) -> None:
        super().__init__()
        self._spec, self._best = spec, setting.best
        self.student = nn.Linear(setting.widths.embedding, spec.projection)
        self.teacher = nn.Linear(setting.teacher_width(setting.best), spec.projection)

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        u, v = self.student(output.embedding), self.teacher(batch.teachers[self._best].pooled)
        return info_nce(u, v, self._spec.temperature, ~same_text_mask(batch.text_hash))
