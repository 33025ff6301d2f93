"""S3, interactive co-learning (Takashima et al. 2022; methods reference, section 3.2, derived from the abstract).

The student runs on the whole input and on parts of it with the same weights. Decisions that it leaves open:
- What rows of a corpus lack, their parts lack, too; a part of which a row has nothing at all says nothing there,
  and neither the labels nor the others are told to it.
- `training.modality_dropout` takes from the whole input alone: the parts are what they are called.
- The parts' terms are means over the parts, so that two modalities and three weigh the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trainables.absence import only, without
from trainables.batching import Batch
from trainables.method import Setting, TeachingMethod
from trainables.schedules import value
from trainables.spec.base import MODALITIES, Modality
from trainables.spec.method import CoLearning
from trainables.spec.schedule import is_used
from trainables.students.base import StudentOutput


class CoLearningMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, ("ce", "ce_parts", "to_parts", "to_whole", "mutual"))
        assert isinstance(setting.run.method, CoLearning)
        self._spec = setting.run.method
        self._modalities: tuple[Modality, ...] = tuple(m for m in MODALITIES if m in setting.run.student.modalities)
        self._parts = {"+".join(part): part for part in self._spec.inputs(self._modalities)[1:]}
        follows = self._spec.mode in ("distil", "interactive")
        interacts = self._spec.mode == "interactive"
        self._to_parts = follows and is_used(self._spec.to_parts)
        self._to_whole = interacts and is_used(self._spec.to_whole)
        self._mutual = interacts and is_used(self._spec.mutual)

    def given(self, batch: Batch, chance: random.Random) -> Batch:
        """Of `dropout` one input a batch, the whole among them, each as likely; rows without any of it keep all."""
        if self._spec.mode != "dropout" or not self._parts:
            return batch
        kept = chance.choice([self._modalities, *self._parts.values()])
        rows = self._there(batch, kept)
        return without(batch, {m: rows for m in self._modalities if m not in kept}, self.setting.data.pad_id)

    def views(self, batch: Batch) -> dict[str, Batch]:
        if self._spec.mode == "dropout":
            return {}
        pad = self.setting.data.pad_id
        return {name: only(batch, self._modalities, part, pad) for name, part in self._parts.items()}

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        terms = self.classified(output, batch)
        if not output.views:
            return terms
        spec, weights = self._spec, dict(self._weights(batch))
        parts = {name: view.logits for name, view in output.views.items()}

        def mean(each: list[Tensor]) -> Tensor:
            return torch.stack(each).mean()

        labelled = [self.labelled(z, replace(batch, weights=weights[name])) for name, z in parts.items()]
        terms["ce_parts"] = value(spec.part_weight, progress) * mean(labelled)
        tau, whole = value(spec.temperature, progress), output.logits
        if self._to_parts:
            learned = [self.setting.soft(z, whole, tau, weights[name]) for name, z in parts.items()]
            terms["to_parts"] = value(spec.to_parts, progress) * mean(learned)
        if self._to_whole:
            taught = [self.setting.soft(whole, z, tau, weights[name]) for name, z in parts.items()]
            terms["to_whole"] = value(spec.to_whole, progress) * mean(taught)
        if self._mutual:
            terms["mutual"] = value(spec.mutual, progress) * self._among(parts, weights, tau)
        return terms

    def values(self, progress: float) -> dict[str, float]:
        return {"temperature": value(self._spec.temperature, progress), **super().values(progress)}

    def _among(self, parts: dict[str, Tensor], weights: dict[str, Tensor], tau: float) -> Tensor:
        """Every single modality's word to every other's, the mean over ordered pairs."""
        single = [name for name, part in self._parts.items() if len(part) == 1]
        pairs = [
            self.setting.soft(parts[a], parts[b], tau, weights[a] * weights[b].gt(0))
            for a in single
            for b in single
            if a != b
        ]
        return torch.stack(pairs).mean()

    def _weights(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        """Of the samples in each part: 0 where nothing of the part is there."""
        for name, part in self._parts.items():
            yield name, batch.weights * self._there(batch, part)

    def _there(self, batch: Batch, part: Sequence[Modality]) -> Tensor:
        """bool [B]: whether anything of the part is there.

        The transfer set says so, since several workers share one loss without the inputs.
        """
        rows = batch.index.cpu().numpy()
        there = torch.stack([torch.from_numpy(self.setting.data.present(m)[rows]) for m in part]).any(dim=0)
        return there.to(batch.weights.device)
