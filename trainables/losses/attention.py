"""Transfer of attention: of maps (methods reference, section 1.2, L_AT; derived: the abstract only permits it) and
of activations (section 6.1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the L2-normalised maps, mean over the batch.

    Within [0, 2], as attention is never negative. Both are [batch, ...], as [batch, grid, grid]; the teacher's
    receive no gradient. A teacher map of zeros (a modality that the utterance lacks) says nothing and
    contributes 0.
    """
    target = F.normalize(teacher.detach().flatten(1), dim=1)
    distance = (F.normalize(student.flatten(1), dim=1) - target).square().sum(dim=1)
    return (distance * target.any(dim=1)).mean()


def activation_attention(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared distance of Q(student) and Q(teacher), Q = L2-normalised mean_c |F|^2 over time; mean over the batch.

    Zagoruyko & Komodakis, ICLR 2017. student: [batch, time, width], teacher: [batch, time, its width], of one
    time; mask: bool [batch, time], True = valid, None: all. Within [0, 2]: it is summed over time, as in the paper;
    the published weight of 1000 belongs to code that takes the mean. The teacher receives no gradient, and one
    without activation says nothing and contributes 0.
    """
    s, t = (features.square().mean(dim=2) for features in (student, teacher))
    if mask is not None:
        s, t = s.masked_fill(~mask, 0.0), t.masked_fill(~mask, 0.0)
    return attention_transfer(s, t)


def resize_map(maps: Tensor, mask: Tensor, grid: int) -> Tensor:
    """Resize the valid part of each map to [batch, grid, grid], bilinear, antialiased where it shrinks.

    maps: [batch, time, time], averaged over heads; mask: bool [batch, time], True = valid, the same for
    queries and keys. Equal to `F.interpolate(mode="bilinear", antialias=True)` on each map cut to its valid
    steps, without a loop over the batch. A map without a valid step becomes zeros.
    """
    weights = _triangle(mask, grid).to(maps.dtype)
    return weights @ maps @ weights.transpose(1, 2)


def _triangle(mask: Tensor, grid: int) -> Tensor:
    """float [batch, grid, time]: row g holds the normalised triangle of cell g over the valid steps."""
    length = mask.sum(dim=1)[:, None, None].float()
    rank = (mask.cumsum(dim=1) - 1)[:, None, :].float()
    cell = torch.arange(grid, device=mask.device)[None, :, None].float()
    centre = (cell + 0.5) * length / grid - 0.5
    width = (length / grid).clamp(min=1.0)
    weight = (1 - (rank - centre).abs() / width).clamp(min=0) * mask[:, None, :]
    return weight / weight.sum(dim=2, keepdim=True).clamp(min=torch.finfo(weight.dtype).tiny)
