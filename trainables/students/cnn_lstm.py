"""S5's network (Qian & Han 2022; methods reference, section 5): a CNN over the log-mel image, an LSTM over the
words that is attended to from its last state, and a linear classifier of both.

Differs from the authors': the image is log-mel, brought to its width by averaging (theirs a spectrogram of 128 x
128), the word vectors are learned or the text teacher's (theirs GloVe), and `bidirectional` does what it says. The
dropout is the modality's where there is one, the joint one where there are two.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from trainables.batching import Batch
from trainables.encoders import Dropout, resampled
from trainables.fusion import key_mask
from trainables.spec.base import Modality
from trainables.spec.student import CnnLstm
from trainables.students.base import Sizes, Student, StudentOutput, Widths, take_over_table
from trainables.transfer_set import TransferSet


class ImageEncoder(nn.Module):
    """Blocks of 3 x 3 convolution, ReLU and max-pool by 2; an odd side keeps its last row or column."""

    def __init__(self, frames: int, mel_bands: int, filters: int, blocks: int) -> None:
        super().__init__()
        self.frames = frames
        self.convolutions = nn.ModuleList(
            nn.Conv2d(filters if i else 1, filters, kernel_size=3, padding=1) for i in range(blocks)
        )
        self.width = filters * _halved(frames, blocks) * _halved(mel_bands, blocks)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """frames [B, T, mel], mask [B, T] -> [B, width]"""
        # Channels last: torch's own order takes a CPU twice the time. Pooled first, relu has a quarter to do.
        x = resampled(frames, mask, self.frames)[:, None].to(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = F.max_pool2d(convolution(x), 2, ceil_mode=True).relu()
        return x.flatten(1)


class WordEncoder(nn.Module):
    """A table, one LSTM layer, and the sum of its states weighted by their dot product with the last one."""

    def __init__(self, vocabulary: int, spec: CnnLstm) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, spec.token_width)
        nn.init.normal_(self.table.weight, std=spec.token_width**-0.5)
        self.word_dropout = spec.word_dropout
        self.lstm = nn.LSTM(spec.token_width, spec.lstm_width, batch_first=True, bidirectional=spec.bidirectional)
        self.width = spec.lstm_width * (1 + spec.bidirectional)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens int64 [B, L], mask [B, L] -> [B, width]"""
        x = self.table(tokens)
        if self.training and self.word_dropout:
            x = x * (torch.rand(tokens.shape, device=x.device) >= self.word_dropout)[..., None]
        lengths = mask.sum(dim=1).clamp(min=1).cpu()
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        states, (ends, _) = self.lstm(packed)
        padded, _ = pad_packed_sequence(states, batch_first=True, total_length=tokens.shape[1])
        last = ends.transpose(0, 1).flatten(1)
        scores = torch.bmm(padded, last[:, :, None])[:, :, 0]
        weights = scores.masked_fill(~key_mask(mask)[:, 0, 0], -torch.inf).softmax(dim=1)
        return torch.bmm(weights[:, None, :], padded)[:, 0]


class CnnLstmStudent(Student):
    spec: CnnLstm

    def __init__(self, spec: CnnLstm, sizes: Sizes) -> None:
        super().__init__(spec)
        widths: dict[Modality, int] = {}
        if "audio" in self.modalities:
            self.audio = ImageEncoder(spec.frames, sizes.mel_bands, spec.filters, spec.blocks)
            widths["audio"] = self.audio.width
        if "text" in self.modalities:
            self.text = WordEncoder(sizes.vocabulary, spec)
            widths["text"] = self.text.width
        self._widths = Widths(sum(widths.values()), widths)
        alone = {"audio": spec.audio_dropout, "text": spec.text_dropout}
        self.dropout = Dropout(spec.dropout if len(widths) > 1 else alone[self.modalities[0]])
        self.classifier = nn.Linear(self._widths.embedding, sizes.classes)

    @property
    def widths(self) -> Widths:
        return self._widths

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """It has no self-attention, and so no map of it."""
        pooled: dict[Modality, Tensor] = {}
        if "audio" in self.modalities:
            heard = batch.streams["audio"]
            pooled["audio"] = self.audio(heard.values, heard.mask).float()
        if "text" in self.modalities:
            read = batch.streams["text"]
            pooled["text"] = self.text(read.values, read.mask).float()
        embedding = torch.cat(list(pooled.values()), dim=1)
        return StudentOutput(self.classifier(self.dropout(embedding)).float(), embedding, pooled)

    def take_over(self, data: TransferSet) -> None:
        if "text" in self.modalities:
            take_over_table(self.text.table, self.spec, data)


def _halved(side: int, times: int) -> int:
    for _ in range(times):
        side = -(-side // 2)
    return side
