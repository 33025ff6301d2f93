"""A teacher of one modality: an encoder, a learned weighting of its layers, masked mean pooling, a linear head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from trainables.teachers.encoders import LoadedEncoder, frame_mask


@dataclass(frozen=True)
class Inputs:
    """A padded batch: `values` [B, samples] float or [B, pieces] int64, `mask` of the same shape, True = valid.

    The fusion teacher reads `values` [B, Ta, Da] and `mask` [B, Ta] of audio, `other` and `other_mask` of text.
    """

    values: Tensor
    mask: Tensor
    other: Tensor | None = None
    other_mask: Tensor | None = None

    def to(self, device: str | torch.device) -> Inputs:
        parts = (self.values, self.mask, self.other, self.other_mask)
        return Inputs(*(p.to(device, non_blocking=True) if p is not None else None for p in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class TeacherOutput:
    """`logits` [B, C], `pooled` [B, D], `frames` [B, T, D] with `mask` [B, T], `attention` [B, T, T] if asked."""

    logits: Tensor
    pooled: Tensor
    frames: Tensor
    mask: Tensor
    attention: Tensor | None = None


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
