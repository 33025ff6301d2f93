"""The student of CMD (methods reference, section 1.2): cross-attention between the streams, self-attention
within each, pooling, and a residual classifier. With one modality the cross-attention falls away."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.encoders import AudioStem, TokenEmbedding
from trainables.fusion import CrossModal, Pooling, SelfStack, key_mask, masked_mean
from trainables.losses.attention import resize_map
from trainables.spec.base import Modality
from trainables.spec.student import AudioTextTransformer
from trainables.students.base import Classifier, Sizes, Student, StudentOutput, Widths, take_over_table
from trainables.transfer_set import TransferSet


class AudioTextStudent(Student):
    spec: AudioTextTransformer

    def __init__(self, spec: AudioTextTransformer, sizes: Sizes) -> None:
        super().__init__(spec)
        shape = (spec.width, spec.heads, spec.feedforward_ratio, spec.dropout)
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

    @property
    def widths(self) -> Widths:
        each = dict.fromkeys(self.modalities, self.spec.width)
        return Widths(self.spec.width * len(each), each, each if self.cross else {})

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
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
        embedding = torch.cat(list(pooled.values()), dim=1)
        return StudentOutput(self.classifier(embedding).float(), embedding, pooled, crossed, maps)

    def take_over(self, data: TransferSet) -> None:
        if "text" in self.modalities:
            take_over_table(self.text.table, self.spec, data)

    def _streams(self, batch: Batch) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor]]:
        streams: dict[Modality, Tensor] = {}
        masks: dict[Modality, Tensor] = {}
        if "audio" in self.modalities:
            heard = batch.streams["audio"]
            streams["audio"], masks["audio"] = self.audio(heard.values, heard.mask)
        if "text" in self.modalities:
            read = batch.streams["text"]
            streams["text"], masks["text"] = self.text(read.values), read.mask
        return streams, masks
