"""S3, interactive co-learning (Takashima et al. 2022; methods reference, section 3.2, derived from the abstract).

The student runs on the whole input and on parts of it with the same weights. Decisions that it leaves open:
- What rows of a corpus lack, their parts lack, too; a part of which a row has nothing at all says nothing there,
  and neither the labels nor the others are told to it.
- `training.modality_dropout` takes from the whole input alone: the parts are what they are called.
- The parts' terms are means over the parts, so that two modalities and three weigh the same.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trainables.absence import only, without
from trainables.batching import Batch, as_tensor
from trainables.method import Setting, TeachingMethod
from trainables.schedules import value
from trainables.spec.base import Modality
from trainables.spec.method import CoLearning
from trainables.spec.schedule import is_used
from trainables.students.base import StudentOutput
from trainables.transfer_set import TransferSet


class CoLearningMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, ("ce", "ce_parts", "to_parts", "to_whole", "mutual"))
        assert isinstance(setting.run.method, CoLearning)
        self._spec = setting.run.method
        self._inputs = self._spec.inputs(setting.run.student.modalities)
        self._modalities, *parts = self._inputs
        self._parts = {"+".join(part): part for part in parts}
        self._there = presence(setting.data, self._inputs)
        follows = self._spec.mode in ("distil", "interactive")
        interacts = self._spec.mode == "interactive"
        self._to_parts = follows and is_used(self._spec.to_parts)
        self._to_whole = interacts and is_used(self._spec.to_whole)
        self._mutual = interacts and is_used(self._spec.mutual)

    def given(self, batch: Batch, chance: random.Random) -> Batch:
        """Of `dropout` one input a batch, the whole among them, each as likely; rows without any of it keep all."""
        if self._spec.mode != "dropout" or not self._parts:
            return batch
        kept = chance.choice(self._inputs)
        rows = self._rows(batch)[self._inputs.index(kept)]
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
        spec, weights = self._spec, self._weights(batch)
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

    def _weights(self, batch: Batch) -> dict[str, Tensor]:
        """Of the samples in each part: 0 where nothing of the part is there."""
        return dict(zip(self._parts, batch.weights * self._rows(batch)[1:], strict=True))

    def _rows(self, batch: Batch) -> Tensor:
        """bool [inputs, B], of `presence`."""
        self._there = self._there.to(batch.index.device)
        return self._there[:, batch.index]


def presence(data: TransferSet, inputs: Sequence[Sequence[Modality]]) -> Tensor:
    """bool [inputs, N]: whether anything of each input is there.

    The transfer set says so, since several workers share one loss without the inputs.
    """
    there = {m: as_tensor(data.present(m)) for m in inputs[0]}
    return torch.stack([torch.stack([there[m] for m in one]).any(dim=0) for one in inputs])
