"""Contrast between a student's and a teacher's vectors (InfoNCE; methods reference, section 1.2, derived).

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
    return (_one_way(similarity, positive, kept) + _one_way(similarity.T, positive.T, kept.T)) / 2


def _one_way(similarity: Tensor, positive: Tensor, kept: Tensor) -> Tensor:
    """Mean over rows of -1/|P| sum over positives of log softmax over the kept candidates."""
    log_probability = similarity - similarity.masked_fill(~kept, -torch.inf).logsumexp(dim=1, keepdim=True)
    total = log_probability.masked_fill(~positive, 0.0).sum(dim=1)
    return -(total / positive.sum(dim=1)).mean()


def same_text_mask(text_hash: Tensor) -> Tensor:
    """bool [batch, batch]: True where two different rows have the same text. `negatives=~same_text_mask(...)`."""
    return _equal_pairs(text_hash)


def same_label_mask(labels: Tensor) -> Tensor:
    """bool [batch, batch]: True where two different rows have the same label. `positives=same_label_mask(...)`."""
    return _equal_pairs(labels)


def _equal_pairs(values: Tensor) -> Tensor:
    equal = values[:, None] == values[None, :]
    return equal & ~torch.eye(len(values), dtype=torch.bool, device=values.device)
