"""Contrast with a bank of every train utterance's vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch, as_tensor
from trainables.losses.crd import CRDBank
from trainables.spec.terms import CRD
from trainables.students.base import StudentOutput
from trainables.terms.base import Setting, TermLoss


class CRDLoss(TermLoss):
    """Between linear projections of the student's embedding and of the best teacher's pooled vector."""

    places: Tensor

    def __init__(self, spec: CRD, setting: Setting) -> None:
        super().__init__()
        self._best = setting.best
        self.student = nn.Linear(setting.widths.embedding, spec.projection)
        self.teacher = nn.Linear(setting.teacher_width(setting.best), spec.projection)
        self.bank = CRDBank(
            len(setting.rows),
            spec.projection,
            negatives=spec.negatives,
            temperature=spec.temperature,
            momentum=spec.momentum,
            text_hash=as_tensor(setting.data.text_hash[setting.rows]),
        )
        places = torch.full((len(setting.data),), -1)
        places[as_tensor(setting.rows)] = torch.arange(len(setting.rows))
        self.register_buffer("places", places, persistent=False)

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        """Of train rows alone: the bank has no place for others."""
        u, v = self.student(output.embedding), self.teacher(batch.teachers[self._best].pooled)
        found: Tensor = self.bank(u, v, self.places[batch.index], batch.weights)
        return found
