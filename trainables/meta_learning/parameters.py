"""What a meta step learns in S4, on scales without an end: logarithms of temperatures and of a weight, the logit of
alpha, and the correction of a live teacher. Each is also kept within its range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainables.schedules import value
from trainables.spec.meta import ALPHA_RANGE, TAU_RANGE
from trainables.spec.method import MetaKnowledge

CONTRAST_RANGE = (1e-3, 10.0)
"""Of lambda_sc (derived)."""
_ADAM_EPSILON = 1e-12
"""A meta gradient is as small as the step that it looks ahead by."""


@dataclass(frozen=True)
class Knobs:
    """The loss's free numbers: tensors where they are learned, so that they can receive a gradient."""

    alpha: float | Tensor
    contrast: float | Tensor
    student_tau: float | Tensor
    teacher_tau: float | Tensor


class MetaParameters(nn.Module):
    """`log_tau_s`, `log_tau_t`, `logit_alpha`, `log_contrast` and `teacher.*`: those that the method learns."""

    def __init__(self, spec: MetaKnowledge, classes: int, teacher_width: int) -> None:
        super().__init__()
        self._spec = spec
        self._ranges: dict[str, tuple[float, float]] = {}
        if "temperature" in spec.by_meta:
            for name in ("log_tau_s", "log_tau_t"):
                self._learn(name, math.log(spec.temperature.start), _each(math.log, TAU_RANGE))
        if "kd_weight" in spec.by_meta:
            self._learn("logit_alpha", _logit(spec.kd_weight.start), _each(_logit, ALPHA_RANGE))
        if "contrast_weight" in spec.by_meta:
            self._learn("log_contrast", math.log(spec.contrast_weight.start), _each(math.log, CONTRAST_RANGE))
        self.teacher = nn.Linear(teacher_width, classes) if spec.corrects_teacher else None
        if self.teacher is not None:
            nn.init.zeros_(self.teacher.weight)
            nn.init.zeros_(self.teacher.bias)

    def fixed(self) -> dict[str, Tensor]:
        """Their values by name, which receive no gradient."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def knobs(self, progress: float, phi: Mapping[str, Tensor]) -> Knobs:
        """What `phi` says, and for what is not learned the schedules at `progress`."""
        spec = self._spec
        tau = value(spec.temperature, progress)
        return Knobs(
            phi["logit_alpha"].sigmoid() if "logit_alpha" in phi else value(spec.kd_weight, progress),
            phi["log_contrast"].exp() if "log_contrast" in phi else value(spec.contrast_weight, progress),
            phi["log_tau_s"].exp() if "log_tau_s" in phi else tau,
            phi["log_tau_t"].exp() if "log_tau_t" in phi else tau,
        )

    def corrected(self, logits: Tensor, pooled: Tensor, phi: Mapping[str, Tensor]) -> Tensor:
        """The teacher's logits [B, C], with the correction from its pooled vectors [B, D] where it is live."""
        if "teacher.weight" not in phi:
            return logits
        return logits + F.linear(pooled, phi["teacher.weight"], phi["teacher.bias"])

    def optimiser(self) -> torch.optim.Adam:
        meta = self._spec.meta
        teacher = [] if self.teacher is None else [*self.teacher.parameters()]
        own = [self.get_parameter(name) for name in self._ranges]
        groups = [{"params": own, "lr": meta.learning_rate}, {"params": teacher, "lr": meta.teacher_learning_rate}]
        return torch.optim.Adam([g for g in groups if g["params"]], eps=_ADAM_EPSILON)

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring each back into its range."""
        for name, (low, high) in self._ranges.items():
            self.get_parameter(name).clamp_(low, high)

    def _learn(self, name: str, start: float, within: tuple[float, float]) -> None:
        self.register_parameter(name, nn.Parameter(torch.tensor(min(max(start, within[0]), within[1]))))
        self._ranges[name] = within


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


def _each(function: Callable[[float], float], values: tuple[float, float]) -> tuple[float, float]:
    return function(values[0]), function(values[1])
