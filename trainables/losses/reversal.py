"""The reversal of a gradient and its schedule in CTKD (Li et al., AAAI 2023; methods reference, section 4.4)."""

from __future__ import annotations

from math import cos, pi
from typing import Any

import torch
from torch import Tensor


class GradientReversal(torch.autograd.Function):
    """The identity, whose gradient is multiplied by `scale`: below 0 it turns a descent into an ascent."""

    @staticmethod
    def forward(x: Tensor, scale: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


def scale_gradient(x: Tensor, scale: float) -> Tensor:
    """x as it is; its gradient times `scale`. Like CTKD's, it reverses for a scale below 0 only."""
    reversed_: Tensor = GradientReversal.apply(x, scale)  # type: ignore[no-untyped-call]
    return reversed_


def ctkd_scale(epoch: float, epochs: float = 10.0) -> float:
    """lambda = -(1 - cos(pi min(e, E) / E)) / 2: from 0 at the start to -1 from epoch E on.

    `epoch` from 0, in the unit of `epochs` E > 0 (or both as shares of the run).
    """
    return -(1 - cos(pi * min(epoch, epochs) / epochs)) / 2
