"""The fusion teachers: co-attention over the frozen sequences of the fine-tuned teachers, here in one way.

Derived from standard co-attention (methods reference, sections 1.2 and 2.2); the CMD abstract gives no such head.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trainables.spec.base import Modality
from trainables.spec.teachers import CoAttentionFusion, FusionTeacher
from trainables.teachers.heads import FusionInputs, TeacherOutput, masked_mean
from trainables.teachers.multi_level import MultiLevelModel


class CoAttention(nn.Module):
    """One stream looks at another: pre-norm attention and feed-forward, both residual."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width)
        self.key_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )  # fmt: skip

    def forward(self, stream: Tensor, other: Tensor, other_mask: Tensor) -> Tensor:
        keys = self.key_norm(other)
        seen, _ = self.attention(
            self.query_norm(stream), keys, keys, key_padding_mask=~other_mask, need_weights=False
        )
        stream = stream + seen
        out: Tensor = stream + self.feedforward(stream)
        return out


class FusionModel(nn.Module):
    """Sequences [B, T, D] of two or three modalities to logits; each looks at all others, end to end.

    `pooled` [B, streams * width] holds the streams' means.
    """

    def __init__(self, widths: Mapping[Modality, int], classes: int, spec: CoAttentionFusion) -> None:
        super().__init__()
        width, pooled = spec.width, len(widths) * spec.width
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.LayerNorm(own), nn.Linear(own, width)) for m, own in widths.items()}
        )
        self.blocks = nn.ModuleDict(
            {
                m: nn.ModuleList(CoAttention(width, spec.heads, spec.dropout) for _ in range(spec.layers))
                for m in widths
            }
        )
        self.layers = spec.layers
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Sequential(
            nn.LayerNorm(pooled), nn.Linear(pooled, width), nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear(width, classes),
        )  # fmt: skip
        self.width = pooled
        self.inputs = dict(widths)

    def forward(self, inputs: FusionInputs, attention: bool = False) -> TeacherOutput:
        masks = {m: inputs.streams[m][1] for m in self.inputs}
        streams: dict[Modality, Tensor] = {m: self.project[m](inputs.streams[m][0].float()) for m in masks}
        others = {m: joined(masks, m) for m in masks}
        for layer in range(self.layers):
            streams = {
                m: self.blocks[m][layer](x, joined(streams, m), others[m])  # type: ignore[index]
                for m, x in streams.items()
            }
        pooled = torch.cat([masked_mean(x, masks[m]) for m, x in streams.items()], dim=1)
        logits = self.classifier(self.dropout(pooled))
        first = next(iter(streams))
        return TeacherOutput(logits.float(), pooled, streams[first], masks[first])


def joined(streams: Mapping[Modality, Tensor], without: Modality) -> Tensor:
    """All streams [B, T, ...] but one, end to end in time."""
    others = [x for m, x in streams.items() if m != without]
    return torch.cat(others, dim=1) if len(others) > 1 else others[0]


def make_fusion(
    spec: FusionTeacher, widths: Mapping[Modality, int], *, classes: int, multi_label: bool = False
) -> FusionModel | MultiLevelModel:
    """An untrained fusion teacher over sequences of these widths, in the order of MODALITIES."""
    if isinstance(spec, CoAttentionFusion):
        return FusionModel(widths, classes, spec)
    return MultiLevelModel(widths, classes, spec, multi_label)
