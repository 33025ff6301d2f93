"""CTKD's temperatures (Li et al., AAAI 2023; methods reference, section 4.4): tau = low + span sigmoid(w).

The optimiser of the student descends on w, too, but w's gradient is turned round, so that the temperature makes
the distillation harder while the student makes it lower; the reversal grows from none to full.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from trainables.losses.reversal import ctkd_scale, scale_gradient
from trainables.spec.meta import CTKD


class Temperature(nn.Module):
    """What both kinds share."""

    def __init__(self, spec: CTKD) -> None:
        super().__init__()
        self.spec = spec

    @property
    def first(self) -> float:
        """The temperature where it starts."""
        return self.spec.low + self.spec.span / (1 + math.exp(-self.spec.start))

    def forward(self, student: Tensor, teacher: Tensor, progress: float) -> Tensor:
        """The temperature for logits [B, C] of both sides, [] or [B], its gradient reversed."""
        tau = self.spec.low + self.spec.span * self.raw(student.detach(), teacher.detach()).sigmoid()
        return scale_gradient(tau, ctkd_scale(progress, self.spec.grow))

    def raw(self, student: Tensor, teacher: Tensor) -> Tensor:
        """w"""
        raise NotImplementedError


class GlobalTemperature(Temperature):
    """One for all."""

    def __init__(self, spec: CTKD) -> None:
        super().__init__(spec)
        self.w = nn.Parameter(torch.tensor(spec.start))

    def raw(self, student: Tensor, teacher: Tensor) -> Tensor:
        return self.w


class InstanceTemperature(Temperature):
    """An utterance's own, made from both sides' logits by two layers that start at `start` for all.

    Derived: the logits receive no gradient through the temperature, or the reversed one would teach the student.
    """

    def __init__(self, spec: CTKD, classes: int) -> None:
        super().__init__(spec)
        self.inner, self.outer = nn.Linear(2 * classes, spec.hidden), nn.Linear(spec.hidden, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.constant_(self.outer.bias, spec.start)

    def raw(self, student: Tensor, teacher: Tensor) -> Tensor:
        out: Tensor = self.outer(self.inner(torch.cat([teacher, student], dim=1)).relu())[:, 0]
        return out


def make_temperature(source: str, spec: CTKD, classes: int) -> Temperature:
    """`source`: ctkd_global or ctkd_instance."""
    return GlobalTemperature(spec) if source == "ctkd_global" else InstanceTemperature(spec, classes)


class Spread:
    """Mean and standard deviation of the temperatures of an epoch's samples, which have one progress."""

    def __init__(self) -> None:
        self._progress, self._count = math.nan, 0
        self._sum: Tensor = torch.zeros(())
        self._squares: Tensor = torch.zeros(())

    def add(self, progress: float, tau: Tensor) -> None:
        """tau [] or [B]"""
        values = tau.detach().double()
        if progress != self._progress:
            self._progress, self._count = progress, 0
            self._sum = self._squares = torch.zeros_like(values.sum())
        self._count += values.numel()
        self._sum, self._squares = self._sum + values.sum(), self._squares + values.square().sum()

    def of(self, progress: float, otherwise: float) -> tuple[float, float]:
        """At `progress`; (`otherwise`, 0) where none was seen."""
        if progress != self._progress:
            return otherwise, 0.0
        mean = float(self._sum) / self._count
        return mean, math.sqrt(max(0.0, float(self._squares) / self._count - mean**2))
