"""The student of S3 (methods reference, section 3.2): one network for whichever of its modalities are there.

Derived from the abstract: each stream attends to all the others end to end, then all streams together, told apart
by an embedding of their modality, go through one self-attention. Of a modality that is missing one learned token is
left, which attends and is attended to like any other step. Norms are of layers throughout: statistics of a batch
would differ between inputs.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from trainables.batching import Batch, StreamBatch
from trainables.encoders import AudioStem, TokenEmbedding, VectorStem, VisualStem
from trainables.fusion import Block, Pooling, SelfStack, key_mask, masked_mean
from trainables.losses.attention import resize_map
from trainables.spec.base import Modality
from trainables.spec.student import CrossModalTransformer
from trainables.students.base import Classifier, Sizes, Student, StudentOutput, Widths, take_over_table
from trainables.transfer_set import TransferSet

Streams = dict[Modality, Tensor]


class CrossModalStudent(Student):
    spec: CrossModalTransformer

    def __init__(self, spec: CrossModalTransformer, sizes: Sizes) -> None:
        super().__init__(spec)
        shape = (spec.width, spec.heads, spec.feedforward_ratio, spec.dropout)
        self.stems = nn.ModuleDict({m: _stem(spec, *sizes.streams[m]) for m in self.modalities})
        self.kind = nn.ParameterDict({m: nn.Parameter(0.02 * torch.randn(spec.width)) for m in self.modalities})
        # As large as the streams, which end in a LayerNorm.
        self.missing = nn.ParameterDict({m: nn.Parameter(torch.randn(spec.width)) for m in self.modalities})
        crossed = spec.cross_layers if len(self.modalities) > 1 else 0
        self.cross = nn.ModuleList(
            nn.ModuleDict({m: Block(*shape, cross=True) for m in self.modalities}) for _ in range(crossed)
        )
        self.together = SelfStack(*shape, spec.self_layers)
        self.pool = nn.ModuleDict({m: Pooling(spec.width, spec.pooling) for m in self.modalities})
        self.classifier = Classifier(spec.width * len(self.modalities), sizes.classes, spec.dropout)

    @property
    def widths(self) -> Widths:
        each = dict.fromkeys(self.modalities, self.spec.width)
        return Widths(self.spec.width * len(each), each, each if self.cross else {})

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """Its maps are each stream's own part of the attention over all of them, brought to rows of sum 1."""
        streams, masks = self._streams(batch)
        crossed: Streams = {}
        if self.cross:
            for layer in self.cross:
                streams = self._crossed(cast(nn.ModuleDict, layer), streams, masks)
            crossed = {m: masked_mean(x, masks[m]).float() for m, x in streams.items()}
        whole, mask = torch.cat(list(streams.values()), dim=1), torch.cat(list(masks.values()), dim=1)
        ended, mean = self.together(whole, key_mask(mask), attention > 0)
        lengths = [x.shape[1] for x in streams.values()]
        parts = dict(zip(streams, ended.split(lengths, dim=1), strict=True))
        pooled: Streams = {m: self.pool[m](x, masks[m]).float() for m, x in parts.items()}
        maps = {} if mean is None else _own_maps(mean.float(), masks, attention)
        embedding = torch.cat(list(pooled.values()), dim=1)
        return StudentOutput(self.classifier(embedding).float(), embedding, pooled, crossed, maps)

    def take_over(self, data: TransferSet) -> None:
        if "text" in self.modalities and isinstance(self.stems["text"], TokenEmbedding):
            take_over_table(self.stems["text"].table, self.spec, data)

    def _streams(self, batch: Batch) -> tuple[Streams, dict[Modality, Tensor]]:
        """Each stream [B, T, d] with its modality's embedding, the learned token for those that are missing."""
        streams: Streams = {}
        masks: dict[Modality, Tensor] = {}
        for m in self.modalities:
            read = batch.streams[m]
            x, mask = _stemmed(self.stems[m], read)
            token = self.missing[m].to(x.dtype)
            x = torch.where(read.present[:, None, None], x, token)
            streams[m] = x + self.kind[m].to(x.dtype)
            # A row whose modality is missing is one token long, however much silence stands in for it.
            first = torch.arange(mask.shape[1], device=mask.device) == 0
            masks[m] = torch.where(read.present[:, None], mask, first)
        return streams, masks

    def _crossed(self, layer: nn.ModuleDict, streams: Streams, masks: dict[Modality, Tensor]) -> Streams:
        """One layer: each stream over the others' input, end to end."""
        found: Streams = {}
        for m, x in streams.items():
            others = [n for n in streams if n != m]
            keys = key_mask(torch.cat([masks[n] for n in others], dim=1))
            found[m] = layer[m](x, torch.cat([streams[n] for n in others], dim=1), keys)[0]
        return found


def _stem(spec: CrossModalTransformer, kind: str, width: int) -> nn.Module:
    if kind == "log_mel":
        return AudioStem(width, spec.width, spec.audio_stride, spec.embedding_dropout)
    if kind == "tokens":
        return TokenEmbedding(width, spec.token_width, spec.width, spec.embedding_dropout, spec.word_dropout)
    if kind == "images":
        return VisualStem(width, spec.image_filters, spec.width, spec.embedding_dropout)
    return VectorStem(width, spec.width, spec.embedding_dropout)


def _stemmed(stem: nn.Module, read: StreamBatch) -> tuple[Tensor, Tensor]:
    if isinstance(stem, AudioStem):
        heard: tuple[Tensor, Tensor] = stem(read.values, read.mask)
        return heard
    if isinstance(stem, VisualStem):
        return stem(read.values, read.mask), read.mask
    return stem(read.values), read.mask


def _own_maps(mean: Tensor, masks: dict[Modality, Tensor], side: int) -> Streams:
    """The blocks on the diagonal of [B, S, S], their rows scaled to sum 1, on a grid [B, side, side]."""
    found: Streams = {}
    start = 0
    for m, mask in masks.items():
        end = start + mask.shape[1]
        own = mean[:, start:end, start:end]
        own = own / own.sum(dim=2, keepdim=True).clamp(min=torch.finfo(own.dtype).tiny)
        found[m], start = resize_map(own, mask, side), end
    return found
