"""Cross-entropy on hard labels, and the class weights that it may take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

ClassWeighting = Literal["none", "sqrt_inverse", "inverse"]


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    sample_weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy in nats of logits [batch, classes] against labels int64 [batch], or soft ones
    [batch, classes] whose rows sum to 1.

    With `class_weights` [classes] it is torch's weighted mean (divided by the weights of the batch's labels; soft
    labels weigh what their classes do on average).
    `sample_weights` [batch] multiply the terms of their samples and leave the divisor as it is, so that a
    sample of weight 0.5 counts half wherever it falls.
    """
    loss = F.cross_entropy(logits, labels, weight=class_weights, label_smoothing=label_smoothing, reduction="none")
    if sample_weights is not None:
        loss = loss * sample_weights
    if class_weights is None:
        return loss.mean()
    # A batch of classes of weight 0 alone has nothing to say: 0, not 0 / 0.
    weight = labels @ class_weights if labels.is_floating_point() else class_weights[labels]
    return loss.sum() / weight.sum().clamp(min=torch.finfo(loss.dtype).tiny)


def soft_targets(votes: Tensor, labels: Tensor) -> Tensor:
    """votes [batch, classes] with the rows of NaN (nobody was asked) replaced by their label's one-hot row."""
    hard = F.one_hot(labels, votes.shape[1]).to(votes.dtype)
    return torch.where(votes.isnan().any(dim=1, keepdim=True), hard, votes)


def class_weights(counts: Sequence[int], weighting: ClassWeighting) -> Tensor:
    """float32 [classes] from the train split's counts, scaled so that the mean over its samples is 1.

    `inverse`: w_c ~ 1 / n_c (scikit-learn's "balanced"); `sqrt_inverse`: w_c ~ n_c^-1/2; `none`: ones.
    A class without a sample gets 0 under both inverses. ValueError when there is no sample at all.
    """
    count = torch.tensor(counts, dtype=torch.float64)
    if count.sum() <= 0:
        raise ValueError(f"class counts {list(counts)}: at least one sample is needed")
    if weighting == "none":
        return torch.ones(len(count))
    power = {"sqrt_inverse": -0.5, "inverse": -1.0}[weighting]
    weight = torch.where(count > 0, count.clamp(min=1).pow(power), 0.0)
    return (weight * count.sum() / (weight * count).sum()).float()
