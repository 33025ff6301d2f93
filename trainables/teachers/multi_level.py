"""The fusion teacher of S2: the network of `trainables.multi_level` over every frame, its members' mean."""

from __future__ import annotations

import torch
from torch import nn

from trainables.late_fusion import fused
from trainables.multi_level import MultiLevelNetwork
from trainables.spec.teachers import MultiLevelTeacher
from trainables.teachers.heads import Inputs, TeacherOutput


class MultiLevelModel(nn.Module):
    """Frames [B, Ta, Da], words [B, Tt, Dt] and spans to logits; `pooled` is both streams' means, [B, 2 width]."""

    def __init__(self, audio_width: int, text_width: int, classes: int, spec: MultiLevelTeacher) -> None:
        super().__init__()
        self.network = MultiLevelNetwork(spec, {"audio": audio_width, "text": text_width}, classes)
        self.width = 2 * spec.width
        self.inputs = (audio_width, text_width)

    def forward(self, inputs: Inputs, attention: bool = False) -> TeacherOutput:
        assert inputs.other is not None and inputs.other_mask is not None
        streams = {"audio": (inputs.values, inputs.mask), "text": (inputs.other, inputs.other_mask)}
        found = self.network(streams, inputs.segments)
        pooled = torch.cat([found.pooled["audio"], found.pooled["text"]], dim=1)
        logits = fused("mean", found.members.new_zeros(0), found.members)
        return TeacherOutput(logits, pooled, inputs.values, inputs.mask, members=found.members)
