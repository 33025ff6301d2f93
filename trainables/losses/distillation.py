"""Distillation of logits: KD, DKD, DIST and MetaDistil's soft loss (methods reference, sections 4.4 and 6.1).

Logits are [batch, classes]. A temperature is above 0, a number or a tensor, [] or [batch]: a tensor receives its
gradient, so that it can be learned.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

Temperature = float | Tensor


def kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: Temperature,
    weights: Tensor | None = None,
    teacher_temperature: Temperature | None = None,
    *,
    through_teacher: bool = False,
) -> Tensor:
    """tau^2 KL(softmax(teacher / tau) || softmax(student / tau)) in nats, summed over classes, mean over the batch.

    Hinton, Vinyals and Dean 2015. The teacher's logits receive no gradient, unless `through_teacher`. `weights`
    [batch] multiply the terms of their samples; the sum is still divided by the batch, so that a sample of weight
    0.5 counts half wherever it falls. The factor tau^2 keeps the gradient's size when tau changes. With a
    `teacher_temperature` the teacher is divided by that one and the factor is the product of both (section 4.4).
    """
    of_teacher = temperature if teacher_temperature is None else teacher_temperature
    teacher = teacher_logits if through_teacher else teacher_logits.detach()
    target = F.log_softmax(teacher / _per_row(of_teacher), dim=-1)
    student = F.log_softmax(student_logits / _per_row(temperature), dim=-1)
    divergence = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=-1)
    return _mean(divergence * (temperature * of_teacher), weights)


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: Temperature,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    weights: Tensor | None = None,
) -> Tensor:
    """tau^2 (alpha KL of (p_label, 1 - p_label) + beta KL among the other classes), mean over the batch.

    Decoupled KD (Zhao et al., CVPR 2022). labels: int64 [batch]; at least two classes, and with just two the
    second part is 0. With beta = 1 - p_label of the teacher and alpha = 1 it would be KD. The teacher's logits
    receive no gradient; `weights` as in `kd`.
    """
    is_label = F.one_hot(labels, student_logits.shape[-1]).bool()
    tau = _per_row(temperature)
    s_label, s_rest, s_others = _decoupled(student_logits / tau, is_label)
    t_label, t_rest, t_others = _decoupled(teacher_logits.detach() / tau, is_label)
    target = t_label.exp() * (t_label - s_label) + t_rest.exp() * (t_rest - s_rest)
    # At the label both are -inf, and their difference says nothing.
    others = (t_others.exp() * (t_others - s_others).masked_fill(is_label, 0.0)).sum(dim=-1)
    return _mean((alpha * target + beta * others) * temperature**2, weights)


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    temperature: Temperature,
    *,
    inter: float = 1.0,
    intra: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """tau^2 (inter (1 - rho) of samples + intra (1 - rho) of classes), rho Pearson's of the probabilities.

    Huang et al., NeurIPS 2022; each part is the mean over its samples or classes, within [0, 2]. `temperature` is
    one for all, as a class is compared across the batch. A row or class on which the teacher does not vary has
    no correlation and gives 0; one on which the student alone does not vary gives 1 and no gradient. A batch of
    one has no second part. Derived: `weights` [batch] multiply the samples' terms, weigh the samples within
    each class, and scale the classes' part by their mean. The teacher's logits receive no gradient.
    """
    student = F.softmax(student_logits / temperature, dim=-1)
    teacher = F.softmax(teacher_logits.detach() / temperature, dim=-1)
    weight = student.new_ones(len(student)) if weights is None else weights
    of_samples = _unlikeness(student.T, teacher.T, student.new_ones(student.shape[-1]))
    of_classes = _unlikeness(student, teacher, weight)
    parts = inter * (of_samples * weight).mean() + intra * of_classes.mean() * weight.mean()
    return parts * temperature**2


def soft_mse(
    student_logits: Tensor, teacher_logits: Tensor, temperature: Temperature, weights: Tensor | None = None
) -> Tensor:
    """tau^2 times the squared distance of the softened probabilities, mean over classes and batch.

    MetaDistil's soft loss (Zhou, Xu and McAuley, ACL 2022; its code has no KL). Here the teacher's logits do
    receive a gradient, which is how the student's step teaches the teacher; detach them elsewhere.
    `weights` as in `kd`.
    """
    tau = _per_row(temperature)
    distance = F.softmax(student_logits / tau, dim=-1) - F.softmax(teacher_logits / tau, dim=-1)
    return _mean(distance.square().mean(dim=-1) * temperature**2, weights)


def _per_row(temperature: Temperature) -> Temperature:
    """[batch] as [batch, 1], to divide logits by."""
    return temperature[:, None] if isinstance(temperature, Tensor) and temperature.ndim == 1 else temperature


def _mean(terms: Tensor, weights: Tensor | None) -> Tensor:
    return terms.mean() if weights is None else (terms * weights).mean()


def _decoupled(logits: Tensor, is_label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p_label [batch], log(1 - p_label) [batch], and log p among the others [batch, classes].

    The last is -inf at the label. 1 - p_label is summed from the other classes, so that it keeps its digits where
    p_label is nearly 1.
    """
    log_p = F.log_softmax(logits, dim=-1)
    rest = log_p.masked_fill(is_label, -torch.inf)
    return log_p.masked_fill(~is_label, 0.0).sum(dim=-1), rest.logsumexp(dim=-1), rest.log_softmax(dim=-1)


def _unlikeness(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """1 - Pearson's correlation of each column [columns], over rows that count by `weights` [rows]."""
    share = (weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny))[:, None]
    s, t = (x - (share * x).sum(dim=0) for x in (student, teacher))
    s_variance, t_variance = (share * s * s).sum(dim=0), (share * t * t).sum(dim=0)
    # A probability is known to a few eps: less variation than that is rounding.
    least = (16 * torch.finfo(student.dtype).eps) ** 2
    s_flat, t_flat = s_variance <= least, t_variance <= least
    scale = s_variance.masked_fill(s_flat, 1.0).sqrt() * t_variance.masked_fill(t_flat, 1.0).sqrt()
    correlation = ((share * s * t).sum(dim=0) / scale).masked_fill(s_flat, 0.0)
    return (1 - correlation).masked_fill(t_flat, 0.0)
