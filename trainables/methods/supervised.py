"""Hard labels alone: what a student reaches without a teacher."""

from __future__ import annotations

from torch import Tensor

from trainables.batching import Batch
from trainables.method import BaseMethod
from trainables.students.base import StudentOutput


class SupervisedMethod(BaseMethod):
    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.classified(output, batch)
