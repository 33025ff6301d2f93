"""Distillation of logits (Hinton, Vinyals and Dean 2015; methods reference, section 6.1)."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def kd(student_logits: Tensor, teacher_logits: Tensor, temperature: float, weights: Tensor | None = None) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)) in nats, summed over classes, mean over the batch.

    Both logits are [batch, classes]; the teacher's receive no gradient. `temperature` > 0. `weights` [batch]
    multiply the terms of their samples; the sum is still divided by the batch, so that a sample of weight
    0.5 counts half wherever it falls. The factor tau^2 keeps the gradient's size when tau changes.
    """
    target = F.log_softmax(teacher_logits.detach() / temperature, dim=-1)
    student = F.log_softmax(student_logits / temperature, dim=-1)
    divergence = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=-1)
    if weights is not None:
        divergence = divergence * weights
    return divergence.mean() * temperature**2
