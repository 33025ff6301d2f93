"""A teacher of one modality: an encoder, a learned weighting of its layers, masked mean pooling, a linear head."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from trainables.spec.base import Modality
from trainables.teachers.encoders import LoadedEncoder, frame_mask, frame_vectors, weighted_sum


@dataclass(frozen=True)
class Inputs:
    """A padded batch of one modality: `values` [B, samples] float or [B, pieces] int64 and `mask` of the same
    shape, True = valid; or pictures, `values` [B, F, 3, S, S] uint8 and `mask` [B, F]."""

    values: Tensor
    mask: Tensor

    def to(self, device: str | torch.device) -> Inputs:
        return Inputs(self.values.to(device, non_blocking=True), self.mask.to(device, non_blocking=True))


@dataclass(frozen=True)
class FusionInputs:
    """A padded batch of what the teachers of one modality made of it.

    `streams`: values [B, T, D] and mask [B, T] of each, in the order of MODALITIES; `segments`: spans [B, S, 2] of
    audio frames and their mask [B, S], by granularity.
    """

    streams: dict[Modality, tuple[Tensor, Tensor]]
    segments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def to(self, device: str | torch.device) -> FusionInputs:
        streams = {m: (values.to(device), mask.to(device)) for m, (values, mask) in self.streams.items()}
        segments = {g: (spans.to(device), there.to(device)) for g, (spans, there) in self.segments.items()}
        return FusionInputs(streams, segments)


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


_PICTURES = 32
"""Pictures that an image encoder looks at in one pass: an utterance may have 64, and a batch 32 utterances."""


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
        self._interpolates = "interpolate_pos_encoding" in signature(loaded.model.forward).parameters

    @property
    def width(self) -> int:
        return self.loaded.width

    def forward(self, inputs: Inputs, attention: bool = False) -> TeacherOutput:
        """`attention` maps are over time, where audio and text have one: an image encoder attends over patches."""
        maps = None
        if self.loaded.picture is not None:
            frames, mask = self._watch(inputs), inputs.mask
        else:
            output = self._encode(inputs, attention)
            frames, mask = self._frames(output), self._mask(inputs, output)
            maps = output.attentions[-1].mean(1) if attention else None
        pooled = masked_mean(frames, mask)
        logits = self.classifier(self.dropout(pooled))
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
        return weighted_sum(self.layer_weights, output.hidden_states)

    def _mask(self, inputs: Inputs, output: Any) -> Tensor:
        if self.loaded.wave is None:
            return inputs.mask
        return frame_mask(self.loaded.model, output.last_hidden_state.shape[1], inputs.mask)

    def _watch(self, inputs: Inputs) -> Tensor:
        """Pictures [B, F, 3, S, S] -> [B, F, D]: each by itself, those that are there alone, some at a time."""
        found = torch.cat([self._look(part) for part in torch.split(inputs.values[inputs.mask], _PICTURES)])
        frames = found.new_zeros(*inputs.mask.shape, found.shape[1])
        frames[inputs.mask] = found
        return frames

    def _look(self, pictures: Tensor) -> Tensor:
        """[n, 3, S, S] uint8 -> [n, D]"""
        rules = self.loaded.picture
        assert rules is not None
        # Position embeddings are for the size that the encoder was trained with; of another they are interpolated.
        other = rules.side != self.loaded.model.config.image_size
        output = self.encoder(
            rules.normalised(pictures),
            output_hidden_states=self.layer_weights is not None,
            **({"interpolate_pos_encoding": True} if other and self._interpolates else {}),
        )
        return frame_vectors(self.loaded.model, output, self.layer_weights)
