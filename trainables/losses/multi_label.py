"""Losses of several labels an utterance, each present or absent by itself: BCE and binary distillation (methods
reference, section 3.2).

Logits and targets are [batch, labels]. Both losses are means over the labels. The reference states BCE so and the
binary divergence as a sum; with a sum the number of labels would decide how much a teacher weighs against them, and
alpha would mean another thing on each corpus. A weight here is a weight of the sum times that number.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

_LIGHTEST, _HEAVIEST = 1.0, 10.0


def binary_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    positive_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    sample_weights: Tensor | None = None,
) -> Tensor:
    """-(w y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))) in nats, mean over labels and batch.

    targets y: 0 or 1, or soft ones within [0, 1]. `positive_weights` w [labels] multiply the first term alone, and
    the divisor stays the number of labels. `label_smoothing` s makes y into y (1 - s) + s / 2, as softmax's
    smoothing does over two classes. `sample_weights` [batch] multiply the terms of their samples and leave the
    divisor as it is, so that a sample of weight 0.5 counts half wherever it falls.
    """
    loss = _rows(logits, targets, positive_weights, label_smoothing)
    return loss.mean() if sample_weights is None else (loss * sample_weights).mean()


def binary_cross_entropy_sum(
    logits: Tensor, targets: Tensor, positive_weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """`binary_cross_entropy` times the rows: for a batch that is learned from in pieces."""
    return _rows(logits, targets, positive_weights, label_smoothing).sum()


def _rows(logits: Tensor, targets: Tensor, positive_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """[batch]: the mean over labels."""
    smooth = targets * (1 - label_smoothing) + label_smoothing / 2
    loss = F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=positive_weights, reduction="none")
    return loss.mean(dim=-1)


def positive_weights(targets: Tensor) -> Tensor:
    """float32 [labels]: how often a label is absent for each time that it is there, within [1, 10].

    targets [samples, labels], of the train rows alone; soft ones count by their share. A label that never occurs
    weighs 1: nothing is known of how rare it is, and with smoothed labels 10 would only raise its probability.
    ValueError when there is no sample at all.
    """
    if not len(targets):
        raise ValueError("positive weights: at least one sample is needed")
    present = targets.double().sum(dim=0)
    ratio = (len(targets) - present) / present.clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(present > 0, ratio.clamp(_LIGHTEST, _HEAVIEST), 1.0).float()


def binary_kd(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float, weights: Tensor | None = None
) -> Tensor:
    """tau^2 KL_B(sigmoid(teacher / tau) || sigmoid(student / tau)) in nats, mean over labels and batch.

    KL_B(p || q) = p log(p / q) + (1 - p) log((1 - p) / (1 - q)), 0 only where both agree. `temperature` > 0; the
    factor tau^2 keeps the gradient's size when tau changes. The teacher's logits receive no gradient. `weights`
    [batch] multiply the terms of their samples; the sum is still divided by the batch.
    """
    student, teacher = student_logits / temperature, teacher_logits.detach() / temperature
    present = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    absent = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    divergence = (present + absent).mean(dim=-1) * temperature**2
    return divergence.mean() if weights is None else (divergence * weights).mean()
