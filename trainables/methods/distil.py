"""The labels and whichever terms are enabled."""

from __future__ import annotations

from torch import Tensor

from trainables.batching import Batch
from trainables.method import Setting, TeachingMethod
from trainables.schedules import value
from trainables.spec.method import Distil
from trainables.students.base import StudentOutput


class DistilMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, ("ce",))
        assert isinstance(setting.run.method, Distil)
        self._spec = setting.run.method

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.classified(output, batch, value(self._spec.label_weight, progress))
