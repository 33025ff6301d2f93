"""Hard labels alone: what a student reaches without a teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.supervised import cross_entropy
from trainables.method import Phase, Sampling, label_weights
from trainables.spec.run import RunSpec
from trainables.students import StudentOutput
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SupervisedMethod:
    def __init__(self, run: RunSpec, data: TransferSet, rows: NDArray[np.int64]) -> None:
        self.heads: nn.Module = nn.Module()
        self._class_weights = label_weights(run, data, rows)
        self._smoothing = run.training.label_smoothing

    def attention(self, progress: float) -> int:
        return 0

    def loss(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        weights = None if self._class_weights is None else self._class_weights.to(output.logits.device)
        return {"ce": cross_entropy(output.logits, batch.labels, weights, self._smoothing, batch.weights)}

    def phase(self, progress: float) -> Phase:
        return "classification"

    def sampling(self, progress: float) -> Sampling:
        return Sampling()

    def values(self, progress: float) -> dict[str, float]:
        return {}
