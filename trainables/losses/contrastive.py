"""Contrast between a student's and a teacher's vectors (InfoNCE; methods reference, section 1.2, derived), and
among the student's own (SupCon; section 6.1).

Pairs of utterances with the same words are no negatives: one MELD utterance in six shares its text with another.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def info_nce(
    u: Tensor,
    v: Tensor,
    temperature: float,
    negatives: Tensor | None = None,
    positives: Tensor | None = None,
) -> Tensor:
    """The mean of both directions, u against all v and v against all u; in nats, at least 0.

    u, v: [batch, width], row i of one belongs to row i of the other; L2-normalised here. `temperature` > 0.
    negatives: bool [batch, batch], True where v_j may be a negative of u_i (and u_i one of v_j); None: all.
    positives: bool [batch, batch], True where v_j is a positive of u_i beside v_i itself (SupCon's form: the
    mean over the positives of the log-probability; Khosla et al. 2020, L_out); None: v_i alone.
    A positive is always kept, whatever `negatives` says. A row whose only candidate is its own positive
    gives 0, so a batch of one gives 0; the least value of a row with n positives is log n.
    """
    similarity = F.normalize(u, dim=-1) @ F.normalize(v, dim=-1).T / temperature
    positive = torch.eye(len(u), dtype=torch.bool, device=u.device)
    if positives is not None:
        positive = positive | positives
    kept = torch.ones_like(positive) if negatives is None else negatives | positive
    forth, back = _one_way(similarity, positive, kept), _one_way(similarity.T, positive.T, kept.T)
    return (forth.mean() + back.mean()) / 2


def sup_con(
    u: Tensor, labels: Tensor, temperature: float, base_temperature: float = 0.07, weights: Tensor | None = None
) -> Tensor:
    """Supervised contrast (Khosla et al., NeurIPS 2020, L_out) among the rows of u, mean over the batch, in nats.

    u: [batch, width], L2-normalised here; labels: int64 [batch]; both temperatures > 0. An anchor's positives are
    the other rows of its label, its candidates all other rows; without a positive it contributes 0. The whole is
    multiplied by temperature / base_temperature, as in the authors' code. `weights` [batch] multiply the terms of
    the anchors and leave the divisor as it is (a row of weight 0 remains a candidate of others).
    """
    similarity = F.normalize(u, dim=-1) @ F.normalize(u, dim=-1).T / temperature
    others = ~torch.eye(len(u), dtype=torch.bool, device=u.device)
    loss = _one_way(similarity, same_label_mask(labels), others) * (temperature / base_temperature)
    return loss.mean() if weights is None else (loss * weights).mean()


def _one_way(similarity: Tensor, positive: Tensor, kept: Tensor) -> Tensor:
    """[batch]: -1/|P| sum over positives of log softmax over the kept candidates; 0 for a row without positives."""
    log_probability = similarity - similarity.masked_fill(~kept, -torch.inf).logsumexp(dim=1, keepdim=True)
    total = log_probability.masked_fill(~positive, 0.0).sum(dim=1)
    return -total / positive.sum(dim=1).clamp(min=1)


def same_text_mask(text_hash: Tensor) -> Tensor:
    """bool [batch, batch]: True where two different rows have the same text. `negatives=~same_text_mask(...)`."""
    return _equal_pairs(text_hash)


def same_label_mask(labels: Tensor) -> Tensor:
    """bool [batch, batch]: True where two different rows have the same label. `positives=same_label_mask(...)`."""
    return _equal_pairs(labels)


def _equal_pairs(values: Tensor) -> Tensor:
    equal = values[:, None] == values[None, :]
    return equal & ~torch.eye(len(values), dtype=torch.bool, device=values.device)
