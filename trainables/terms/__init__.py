"""The one registry of distillation terms: name in `trainables.spec.terms.Terms` -> what works it out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from trainables.batching import Batch
from trainables.schedules import value
from trainables.spec.terms import Terms
from trainables.students.base import StudentOutput
from trainables.terms.bank import CRDLoss
from trainables.terms.base import Setting, TermLoss
from trainables.terms.embedding import InfoNCELoss, RKDLoss, SupConLoss
from trainables.terms.logits import DISTLoss, DKDLoss, KDLoss
from trainables.terms.pairs import PairsLoss
from trainables.terms.streams import AttentionLoss, HintLoss

TERMS: dict[str, Callable[[Any, Setting], TermLoss]] = {
    "kd": KDLoss,
    "dkd": DKDLoss,
    "dist": DISTLoss,
    "hint": HintLoss,
    "attention": AttentionLoss,
    "rkd": RKDLoss,
    "crd": CRDLoss,
    "supcon": SupConLoss,
    "info_nce": InfoNCELoss,
    "pairs": PairsLoss,
}


class TermSet(nn.Module):
    """The enabled terms, each with its weight at the progress of training."""

    def __init__(self, terms: Terms, setting: Setting) -> None:
        super().__init__()
        self._specs = dict(terms.enabled)
        self.losses = nn.ModuleDict({name: TERMS[name](spec, setting) for name, spec in self._specs.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the losses, as they are reported."""
        return tuple(f"term_{name}" for name in self._specs)

    @property
    def wants_maps(self) -> bool:
        return "attention" in self._specs

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Weighted scalars by name."""
        return {
            f"term_{name}": value(spec.weight, progress) * self.losses[name](output, batch, progress)
            for name, spec in self._specs.items()
        }

    def values(self, progress: float) -> dict[str, float]:
        found: dict[str, float] = {}
        for name, term in self.losses.items():
            assert isinstance(term, TermLoss)
            found |= {f"{name}/{key}": number for key, number in term.values(progress).items()}
        return found
