"""The student of CMD (methods reference, section 1.2): cross-attention between the streams, self-attention
within each, pooling, and a residual classifier. With one modality the cross-attention falls away."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.batching import Batch, as_tensor
from trainables.encoders import AudioStem, Dropout, TokenEmbedding, principal_components
from trainables.errors import ArtifactError
from trainables.fusion import CrossModal, Pooling, SelfStack, key_mask, masked_mean
from trainables.losses.attention import resize_map
from trainables.spec.base import Modality
from trainables.spec.student import StudentSpec
from trainables.transfer_set import TransferSet


@dataclass(frozen=True)
class StudentOutput:
    logits: Tensor
    """[B, C] float32"""
    pooled: dict[Modality, Tensor]
    """[B, width] of each stream at its end."""
    crossed: dict[Modality, Tensor]
    """[B, width] of each stream after the cross-attention; empty with one modality."""
    attention: dict[Modality, Tensor] = field(default_factory=dict)
    """[B, G, G] of each stream's last self-attention, averaged over heads; empty unless asked for."""


@dataclass(frozen=True)
class Sizes:
    """What a student must know of its data to be built."""

    classes: int
    vocabulary: int
    mel_bands: int

    @classmethod
    def of(cls, data: TransferSet) -> Sizes:
        return cls(len(data.labels), data.vocabulary_size, data.mel_bands)


class Classifier(nn.Module):
    """z = W_o( W_2 drop(relu(W_1 h)) + h )"""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.out(self.outer(self.dropout(self.inner(h).relu())) + h)
        return out


class AudioTextStudent(nn.Module):
    """Reads the streams of its modalities; what else a batch holds is ignored."""

    def __init__(self, spec: StudentSpec, sizes: Sizes) -> None:
        super().__init__()
        shape = (spec.width, spec.heads, spec.feedforward_ratio, spec.dropout)
        # In a fixed order, whatever the order in the spec: the same spec means the same weights.
        self.modalities = tuple(m for m in ("audio", "text") if m in spec.modalities)
        self.width = spec.width
        if "audio" in self.modalities:
            self.audio = AudioStem(sizes.mel_bands, spec.width, spec.audio_stride, spec.embedding_dropout)
        if "text" in self.modalities:
            self.text = TokenEmbedding(
                sizes.vocabulary, spec.token_width, spec.width, spec.embedding_dropout, spec.word_dropout
            )
        crossed = spec.cross_layers if len(self.modalities) > 1 else 0
        self.cross = nn.ModuleList(CrossModal(*shape) for _ in range(crossed))
        self.within = nn.ModuleDict({m: SelfStack(*shape, spec.self_layers) for m in self.modalities})
        self.pool = nn.ModuleDict({m: Pooling(spec.width, spec.pooling) for m in self.modalities})
        self.classifier = Classifier(spec.width * len(self.modalities), sizes.classes, spec.dropout)

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """`attention`: side of the grid to which the maps are resized; 0: none are made."""
        streams, masks = self._streams(batch)
        keys = {m: key_mask(mask) for m, mask in masks.items()}
        crossed: dict[Modality, Tensor] = {}
        if self.cross:
            for layer in self.cross:
                streams["audio"], streams["text"] = layer(
                    streams["audio"], streams["text"], keys["audio"], keys["text"]
                )
            crossed = {m: masked_mean(x, masks[m]).float() for m, x in streams.items()}
        pooled: dict[Modality, Tensor] = {}
        maps: dict[Modality, Tensor] = {}
        for m, x in streams.items():
            ended, mean = self.within[m](x, keys[m], attention > 0)
            pooled[m] = self.pool[m](ended, masks[m]).float()
            if mean is not None:
                maps[m] = resize_map(mean.float(), masks[m], attention)
        logits = self.classifier(torch.cat(list(pooled.values()), dim=1)).float()
        return StudentOutput(logits, pooled, crossed, maps)

    def _streams(self, batch: Batch) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor]]:
        streams: dict[Modality, Tensor] = {}
        masks: dict[Modality, Tensor] = {}
        if "audio" in self.modalities:
            assert batch.frames is not None and batch.frame_mask is not None
            streams["audio"], masks["audio"] = self.audio(batch.frames, batch.frame_mask)
        if "text" in self.modalities:
            assert batch.tokens is not None and batch.token_mask is not None
            streams["text"], masks["text"] = self.text(batch.tokens), batch.token_mask
        return streams, masks


def build_student(spec: StudentSpec, data: TransferSet, seed: int) -> AudioTextStudent:
    """The untrained student: a function of its arguments, which leaves torch's random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = AudioTextStudent(spec, Sizes.of(data))
    if spec.token_init == "teacher" and "text" in student.modalities:
        if data.token_table is None:
            raise ArtifactError(
                f"transfer set {data.fingerprint}: no token table, so student.token_init: teacher cannot be had"
            )
        with torch.no_grad():
            student.text.table.weight.copy_(principal_components(as_tensor(data.token_table), spec.token_width))
        student.text.table.weight.requires_grad_(spec.token_training == "trained")
    return student
