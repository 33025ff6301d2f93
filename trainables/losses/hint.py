"""Hints (FitNets, Romero et al., ICLR 2015; methods reference, section 6.1)."""

from __future__ import annotations

from torch import Tensor


def hint(student: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Squared distance per element, mean over the features and the batch.

    Both are [batch, ...] of one shape; the regressor that brings the student's features to the teacher's width is
    the caller's. `target` receives no gradient. `weights` [batch] multiply the terms of their samples and leave
    the divisor as it is. ValueError where the shapes differ, which would broadcast in silence.
    """
    if student.shape != target.shape:
        raise ValueError(f"hint: student {list(student.shape)} and target {list(target.shape)} differ in shape")
    distance = (student - target.detach()).square().flatten(1).mean(dim=1)
    return distance.mean() if weights is None else (distance * weights).mean()
