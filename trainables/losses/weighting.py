"""Weights of terms that are learned (Kendall, Gal and Cipolla, CVPR 2018; methods reference, section 6.2)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def homoscedastic(losses: Mapping[str, Tensor], log_variances: Tensor) -> Tensor:
    """sum over k of exp(-s_k) L_k + s_k.

    losses: scalars by name; log_variances: s [terms], in the order of `losses`. At s = 0 it is the plain sum; for
    a constant L_k > 0 the least is at s_k = log L_k. May be below 0. ValueError where the numbers of terms differ.
    """
    if log_variances.shape != (len(losses),):
        raise ValueError(f"{len(losses)} losses {sorted(losses)}, log-variances {list(log_variances.shape)}")
    if not losses:
        return log_variances.sum()
    return (torch.exp(-log_variances) * torch.stack(list(losses.values())) + log_variances).sum()
