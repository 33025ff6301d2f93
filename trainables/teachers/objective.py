"""What a teacher's logits are held against: one label of each row, or several.

Several labels are weighed by how often each is absent for each time that it is there, within [1, 10], as students
are by default: without it a rare label is best never said, and a student learns just that from its teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.errors import SpecError
from trainables.losses.multi_label import binary_cross_entropy_sum, positive_weights
from trainables.losses.supervised import class_weights
from trainables.spec.teachers import FineTuning

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Objective:
    """The loss of train rows by their number; a batch is its sum over rows divided by the batch's weight."""

    def __init__(self, labels: NDArray[Any], classes: int, spec: FineTuning, device: torch.device) -> None:
        """`labels`: as in `Utterances`. SpecError where class weights are asked for of several labels."""
        self.several = labels.ndim == 2
        self.smoothing = spec.label_smoothing
        self._targets = torch.from_numpy(labels).to(device)
        if not self.several:
            counts = np.bincount(labels, minlength=classes)
            self.weights = class_weights(counts.tolist(), spec.class_weights).to(device)
        elif spec.class_weights == "none":
            self.weights = positive_weights(self._targets)
        else:
            raise SpecError(
                f"a teacher's training.class_weights: {spec.class_weights}: the corpus has several labels an "
                "utterance, which are always weighed by how rare they are; set class_weights: none"
            )

    def targets(self, rows: NDArray[np.int64]) -> Tensor:
        return self._targets[torch.from_numpy(rows).to(self._targets.device)]

    def weight(self, rows: NDArray[np.int64]) -> Tensor:
        """What the sum over a global batch is divided by: the weights of its labels, or its rows."""
        if self.several:
            return self.weights.new_tensor(float(len(rows)))
        return self.weights[self.targets(rows)].sum()

    def loss(self, logits: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """The sum over rows, in nats; of several labels the mean over these."""
        targets = self.targets(rows)
        if self.several:
            return binary_cross_entropy_sum(logits, targets, self.weights, self.smoothing)
        return F.cross_entropy(logits, targets, self.weights, label_smoothing=self.smoothing, reduction="sum")
