"""The fusion teachers: co-attention over the frozen frames and words of the fine-tuned teachers, here in one way.

Derived from standard co-attention (methods reference, sections 1.2 and 2.2); the CMD abstract gives no such head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.spec.teachers import CoAttentionFusion, FusionTeacher
from trainables.teachers.heads import Inputs, TeacherOutput, masked_mean
from trainables.teachers.multi_level import MultiLevelModel


class CoAttention(nn.Module):
    """One stream looks at the other: pre-norm attention and feed-forward, both residual."""

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
    """Audio frames [B, Ta, Da] and words [B, Tt, Dt] to logits; `pooled` is both streams' means, [B, 2 width]."""

    def __init__(self, audio_width: int, text_width: int, classes: int, spec: CoAttentionFusion) -> None:
        super().__init__()
        width = spec.width
        self.audio_in = nn.Sequential(nn.LayerNorm(audio_width), nn.Linear(audio_width, width))
        self.text_in = nn.Sequential(nn.LayerNorm(text_width), nn.Linear(text_width, width))
        blocks = [CoAttention(width, spec.heads, spec.dropout) for _ in range(2 * spec.layers)]
        self.audio_blocks = nn.ModuleList(blocks[: spec.layers])
        self.text_blocks = nn.ModuleList(blocks[spec.layers :])
        self.dropout = nn.Dropout(spec.dropout)
        self.classifier = nn.Sequential(
            nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Dropout(spec.dropout),
            nn.Linear(width, classes),
        )  # fmt: skip
        self.width = 2 * width
        self.inputs = (audio_width, text_width)

    def forward(self, inputs: Inputs, attention: bool = False) -> TeacherOutput:
        assert inputs.other is not None and inputs.other_mask is not None
        audio, text = self.audio_in(inputs.values.float()), self.text_in(inputs.other.float())
        for audio_block, text_block in zip(self.audio_blocks, self.text_blocks, strict=True):
            crossed = audio_block(audio, text, inputs.other_mask)
            text = text_block(text, audio, inputs.mask)
            audio = crossed
        pooled = torch.cat([masked_mean(audio, inputs.mask), masked_mean(text, inputs.other_mask)], dim=1)
        logits = self.classifier(self.dropout(pooled))
        return TeacherOutput(logits.float(), pooled, audio, inputs.mask)


def make_fusion(
    spec: FusionTeacher, audio_width: int, text_width: int, *, classes: int
) -> FusionModel | MultiLevelModel:
    """An untrained fusion teacher over sequences of these widths."""
    if isinstance(spec, CoAttentionFusion):
        return FusionModel(audio_width, text_width, classes, spec)
    return MultiLevelModel(audio_width, text_width, classes, spec)
