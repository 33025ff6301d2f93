"""The fusion teacher of S2: the network of `trainables.multi_level` over every frame, its members' mean.

The mean is of probabilities: of the classes', or where there may be several labels of each label's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainables.late_fusion import fused
from trainables.multi_level import MultiLevelNetwork
from trainables.spec.base import Modality
from trainables.spec.teachers import MultiLevelTeacher
from trainables.teachers.heads import FusionInputs, TeacherOutput


class MultiLevelModel(nn.Module):
    """Frames [B, Ta, Da], words [B, Tt, Dt] and spans to logits; `pooled` is both streams' means, [B, 2 width]."""

    def __init__(
        self, widths: Mapping[Modality, int], classes: int, spec: MultiLevelTeacher, multi_label: bool = False
    ) -> None:
        super().__init__()
        self.network = MultiLevelNetwork(spec, widths, classes)
        self.width = 2 * spec.width
        self.inputs = dict(widths)
        self.multi_label = multi_label

    def forward(self, inputs: FusionInputs, attention: bool = False) -> TeacherOutput:
        found = self.network(inputs.streams, inputs.segments)
        pooled = torch.cat([found.pooled["audio"], found.pooled["text"]], dim=1)
        if self.multi_label:
            logits = mean_of_sigmoids(found.members)
        else:
            logits = fused("mean", found.members.new_zeros(0), found.members)
        return TeacherOutput(logits, pooled, *inputs.streams["audio"], members=found.members)


def mean_of_sigmoids(members: Tensor) -> Tensor:
    """The logit [B, C] of the mean over members [B, M, C] of their sigmoids."""
    return F.logsigmoid(members).logsumexp(dim=1) - F.logsigmoid(-members).logsumexp(dim=1)
