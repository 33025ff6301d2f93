"""What a distillation term is at run time: heads of its own, and one scalar a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.distillation import kd
from trainables.losses.multi_label import binary_kd
from trainables.spec.base import Modality
from trainables.spec.run import RunSpec
from trainables.students.base import StudentOutput, Widths
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Setting:
    """What methods and terms are built from. Their heads draw from torch's random state."""

    run: RunSpec
    data: TransferSet
    rows: NDArray[np.int64]
    """The train rows."""
    widths: Widths

    @property
    def best(self) -> str:
        """The teacher whose logits are distilled."""
        return self.run.teachers.best

    @property
    def taught(self) -> tuple[Modality, ...]:
        """The student's modalities that have a teacher of their own."""
        return tuple(m for m in self.widths.pooled if m in self.run.teachers.names)

    def teacher_width(self, name: str) -> int:
        """Of the teacher's pooled vectors."""
        return int(self.data.teachers[name].pooled.shape[1])

    def soft(self, student_logits: Tensor, teacher_logits: Tensor, tau: float, weights: Tensor | None) -> Tensor:
        """Hinton's distillation of logits [B, C] at temperature `tau`, label by label where there are several."""
        found = binary_kd if self.data.multi_label else kd
        return found(student_logits, teacher_logits, tau, weights)


class TermLoss(nn.Module):
    """A term: its modules are trained beside the student and are no part of what is exported."""

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        """The scalar before its weight; samples count by `batch.weights` where the term is one of samples."""
        raise NotImplementedError

    def values(self, progress: float) -> dict[str, float]:
        """What is worth plotting beside the loss."""
        return {}


def nothing(output: StudentOutput) -> Tensor:
    """A zero that belongs to the graph: for a term that has nothing to say of this student or batch."""
    zero: Tensor = output.logits.sum() * 0.0
    return zero


def stacked_mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()
