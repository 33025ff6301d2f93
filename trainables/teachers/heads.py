"""A teacher of one modality: an encoder, a learned weighting of its layers, masked mean pooling, a linear head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.teachers.encoders import LoadedEncoder, frame_mask


@dataclass(frozen=True)
class Inputs:
    """A padded batch: `values` [B, samples] float or [B, pieces] int64, `mask` of the same shape, True = valid.

    A fusion teacher reads `values` [B, Ta, Da] and `mask` [B, Ta] of audio, `other` and `other_mask` of text, and
    may read `segments`: spans [B, S, 2] of audio frames and their mask [B, S], by granularity.
    """

    values: Tensor
    mask: Tensor
    other: Tensor | None = None
    other_mask: Tensor | None = None
    segments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def to(self, device: str | torch.device) -> Inputs:
        parts = (self.values, self.mask, self.other, self.other_mask)
        values, mask, other, other_mask = (p if p is None else p.to(device, non_blocking=True) for p in parts)
        assert values is not None and mask is not None
        segments = {g: (spans.to(device), there.to(device)) for g, (spans, there) in self.segments.items()}
        return Inputs(values, mask, other, other_mask, segments)


@dataclass(frozen=True)
class TeacherOutput:
    """`logits` [B, C], `pooled` [B, D], `frames` [B, T, D] with `mask` [B, T], `attention` [B, T, T] if asked,
    `members` [B, M, C] where the logits join those of several classifiers."""

    logits: Tensor
    pooled: Tensor
    frames: Tensor
    mask: Tensor
    attention: Tensor | None = None
    members: Tensor | None = None


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] -> [B, D] over the valid positions."""
    weights = mask.to(frames.dtype).unsqueeze(-1)
    return (frames * weights).sum(1) / weights.sum(1).clamp_min(1.0)


class EncoderModel(nn.Module):
    """Logits and pooled vectors of an utterance."""

    def __init__(self, loaded: LoadedEncoder, classes: int, dropout: float, layer_weighting: bool) -> None:
        super().__init__()
        self.loaded = loaded
        self.encoder: nn.Module = loaded.model
        self.layer_weights = nn.Parameter(torch.zeros(loaded.layers)) if layer_weighting else None
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(loaded.width, classes)
        if loaded.wave is not None and not loaded.trainable_front:
            loaded.model.feature_extractor._freeze_parameters()

    @property
    def width(self) -> int:
        return self.loaded.width

    def forward(self, inputs: Inputs, attention: bool = False) -> TeacherOutput:
        output = self._encode(inputs, attention)
        frames = self._frames(output)
        mask = inputs.mask
        if self.loaded.wave is not None:
            mask = frame_mask(self.loaded.model, frames.shape[1], inputs.mask)
        pooled = masked_mean(frames, mask)
        logits = self.classifier(self.dropout(pooled))
        maps = output.attentions[-1].mean(1) if attention else None
        return TeacherOutput(logits.float(), pooled, frames, mask, maps)

    def _encode(self, inputs: Inputs, attention: bool) -> Any:
        mask: Tensor | None = inputs.mask.long()
        if self.loaded.wave is not None and not self.loaded.wave.mask:
            mask = None
        return self.encoder(
            inputs.values,
            attention_mask=mask,
            output_hidden_states=self.layer_weights is not None,
            output_attentions=attention,
        )

    def _frames(self, output: Any) -> Tensor:
        if self.layer_weights is None:
            last: Tensor = output.last_hidden_state
            return last
        weights = self.layer_weights.softmax(0)
        total = weights[0] * output.hidden_states[0]
        for weight, state in zip(weights[1:], output.hidden_states[1:], strict=True):
            total = total + weight * state
        return cast(Tensor, total)
