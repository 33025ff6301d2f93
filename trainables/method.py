"""What every method offers the loop, and what they share: class weights, and the curriculum over samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.curriculum import difficulty, hard_selection, pacing, soft_weights
from trainables.losses.supervised import class_weights
from trainables.spec.method import Curriculum
from trainables.spec.run import RunSpec
from trainables.students import StudentOutput
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

Phase = Literal["representation", "classification"]


@dataclass(frozen=True)
class Sampling:
    """Which train rows an epoch uses, and how much each counts."""

    rows: NDArray[np.int64] | None = None
    """Rows of the transfer set; None: every train row."""
    weights: NDArray[np.float32] | None = None
    """[N] over the whole transfer set; None: 1 each."""


class Method(Protocol):
    """A method is a set of weighted loss terms. Progress goes from 0 in the first epoch to 1 in the last."""

    heads: nn.Module
    """What is trained beside the student and is no part of what is exported; may be empty."""

    def attention(self, progress: float) -> int:
        """Side of the grid of attention maps that `loss` wants in the student's output; 0: none."""

    def loss(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Scalars by name, already weighted: their sum is minimised. Never empty."""

    def phase(self, progress: float) -> Phase:
        """Dev scores count, and patience runs, in `classification` only; the last epoch is always that."""

    def sampling(self, progress: float) -> Sampling:
        """The samples of the epoch at `progress`."""

    def values(self, progress: float) -> dict[str, float]:
        """What is worth plotting beside the losses: temperatures, weights."""


def label_weights(run: RunSpec, data: TransferSet, rows: NDArray[np.int64]) -> Tensor | None:
    """[C] from the labels of the train rows, or None where classes weigh the same."""
    if run.training.class_weights == "none":
        return None
    counts = np.bincount(data.label[rows], minlength=len(data.labels))
    return class_weights(counts.tolist(), run.training.class_weights)


class Sampler:
    """A curriculum over the train rows by one teacher's logits; `none` uses every row alike."""

    def __init__(self, curriculum: Curriculum, data: TransferSet, rows: NDArray[np.int64], teacher: str) -> None:
        self._curriculum, self._rows, self._total = curriculum, rows, len(data)
        if curriculum.type == "none":
            return
        self._labels = np.asarray(data.label[rows])
        self._difficulty = difficulty(np.asarray(data.teachers[teacher].logits[rows]), self._labels)

    def at(self, progress: float) -> Sampling:
        if self._curriculum.type == "none":
            return Sampling()
        fraction = pacing(self._curriculum, progress)
        if fraction >= 1:
            return Sampling()
        if self._curriculum.pacing == "hard":
            return Sampling(rows=self._rows[hard_selection(self._difficulty, self._labels, fraction)])
        weights = np.ones(self._total, dtype=np.float32)
        weights[self._rows] = soft_weights(self._difficulty, self._labels, fraction, self._curriculum.softness)
        return Sampling(weights=weights)
