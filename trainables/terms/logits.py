"""Terms on the best teacher's logits."""

from __future__ import annotations

from torch import Tensor

from trainables.batching import Batch
from trainables.losses.distillation import dist, dkd
from trainables.schedules import value
from trainables.spec.terms import DIST, DKD, KD
from trainables.students.base import StudentOutput
from trainables.terms.base import Setting, TermLoss


class KDLoss(TermLoss):
    def __init__(self, spec: KD, setting: Setting) -> None:
        super().__init__()
        self._spec, self._setting = spec, setting

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        tau, teacher = value(self._spec.temperature, progress), batch.teachers[self._setting.best].logits
        return self._setting.soft(output.logits, teacher, tau, batch.weights)


class DKDLoss(TermLoss):
    def __init__(self, spec: DKD, setting: Setting) -> None:
        super().__init__()
        self._spec, self._best = spec, setting.best

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        spec, teacher = self._spec, batch.teachers[self._best].logits
        tau, weights = value(spec.temperature, progress), batch.weights
        return dkd(output.logits, teacher, batch.labels, tau, alpha=spec.alpha, beta=spec.beta, weights=weights)


class DISTLoss(TermLoss):
    def __init__(self, spec: DIST, setting: Setting) -> None:
        super().__init__()
        self._spec, self._best = spec, setting.best

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        spec, teacher = self._spec, batch.teachers[self._best].logits
        tau = value(spec.temperature, progress)
        return dist(output.logits, teacher, tau, inter=spec.inter, intra=spec.intra, weights=batch.weights)
