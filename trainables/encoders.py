"""From log-mel frames, word pieces, pictures, vectors to streams of one width: [batch, time, width] with a mask."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Dropout(nn.Module):
    """Inverted dropout; on the CPU with 16 random bits an element (p to within 1e-5).

    torch's own draws one Bernoulli variable an element there, which cost a quarter of a small student's step;
    this costs a third of it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu":
            return F.dropout(x, self.p)
        count = x.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        bits = words.view(torch.int16)[:count].view(x.shape)
        keep = (bits >= round(self.p * 2**16) - 2**15).to(x.dtype).mul_(1 / (1 - self.p))
        return x * keep


def sinusoids(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """[length, width] of sines (first half) and cosines (second half) over geometric wavelengths 2 pi .. 2e4 pi."""
    half = (width + 1) // 2
    rates = torch.exp(torch.arange(half, device=device) * (-math.log(1e4) / max(half - 1, 1)))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class Positions(nn.Module):
    """Adds sinusoids times a learned gain, then drops out."""

    def __init__(self, width: int, dropout: float, gain: float = 0.5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.dropout = Dropout(dropout)
        self.register_buffer("table", sinusoids(512, width), persistent=False)
        self.table: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, time, width]"""
        length = x.shape[1]
        if length > len(self.table):
            self.table = sinusoids(2 * length, x.shape[2], x.device)
        out: Tensor = self.dropout(x + self.gain * self.table[:length])
        return out


class HalvingConv(nn.Module):
    """`Conv1d(inputs, outputs, kernel_size=3, stride=2, padding=1)` as one matrix product, [batch, time, width].

    Frames 2j-1, 2j, 2j+1 make output j. On a CPU this takes two thirds of oneDNN's time, without a new kernel
    for each new length.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, T, inputs], 0 wherever it is not valid -> [batch, ceil(T / 2), outputs]"""
        if x.shape[1] % 2:
            x = F.pad(x, (0, 0, 0, 1))
        batch, time, width = x.shape
        pairs = x.reshape(batch, time // 2, 2 * width)
        before = F.pad(pairs[:, :-1, width:], (0, 0, 1, 0))
        out: Tensor = self.linear(torch.cat([before, pairs], dim=2))
        return out


class AudioStem(nn.Module):
    """Convolutions that halve the frame rate until `stride` is reached, then positions."""

    def __init__(self, mel_bands: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        halvings = stride.bit_length() - 1
        self.convolutions = nn.ModuleList(
            HalvingConv(mel_bands if i == 0 else width, width) for i in range(halvings)
        )
        self.norm = nn.LayerNorm(width)
        self.positions = Positions(width, dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """frames [B, T, mel], mask [B, T] -> [B, ceil(T / stride), width] and its mask."""
        x = frames
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x if i == 0 else F.relu(x) * mask[..., None])
            # Output j looks at frame 2j and its neighbours: it is valid where frame 2j is.
            mask = mask[:, ::2]
        out: Tensor = self.positions(self.norm(x))
        return out, mask


class VectorStem(nn.Module):
    """Vectors that others worked out, each mapped by itself, then positions."""

    def __init__(self, vector: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project = nn.Linear(vector, width)
        self.norm = nn.LayerNorm(width)
        self.positions = Positions(width, dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """vectors [B, T, D] -> [B, T, width]"""
        out: Tensor = self.positions(self.norm(self.project(vectors)))
        return out


class VisualStem(nn.Module):
    """Three convolutions of stride 2 over each grey picture, all of it to one vector, then positions in time.

    A picture is first brought to mean 0 and deviation 1, which forgets how bright and how contrasted it was.
    """

    def __init__(self, side: int, filters: int, width: int, dropout: float) -> None:
        super().__init__()
        channels = (1, filters, 2 * filters, 4 * filters)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(a, b, kernel_size=3, stride=2, padding=1) for a, b in pairwise(channels)
        )
        for _ in self.convolutions:
            side = (side + 1) // 2
        self.project = nn.Linear(channels[-1] * side * side, width)
        self.norm = nn.LayerNorm(width)
        self.positions = Positions(width, dropout)

    def forward(self, pictures: Tensor, mask: Tensor) -> Tensor:
        """pictures uint8 [B, T, side, side], mask [B, T] -> [B, T, width]; only what is valid is looked at."""
        seen = pictures[mask].to(self.project.weight.dtype)
        # Of one even shade there is nothing to scale; 1 of 255 is less than a JPEG's error.
        deviation, mean = torch.std_mean(seen, dim=(1, 2), keepdim=True, correction=0)
        x = ((seen - mean) / deviation.clamp(min=1.0))[:, None].to(memory_format=torch.channels_last)
        for convolution in self.convolutions:
            x = convolution(x).relu_()  # in place: of pictures, memory is most of the time
        found = self.norm(self.project(x.flatten(1)))
        stream = found.new_zeros(*mask.shape, found.shape[1]).masked_scatter(mask[..., None], found)
        out: Tensor = self.positions(stream)
        return out


def resampled(frames: Tensor, mask: Tensor, steps: int) -> Tensor:
    """Adaptive average pooling of each row's valid frames: [B, T, mel], [B, T] -> [B, steps, mel].

    Valid frames come first. Step s of n frames is the mean of frames floor(s n / steps) .. ceil((s + 1) n / steps),
    as torch's; with fewer frames than steps they repeat. A row without a valid frame gives zeros.
    """
    length = mask.sum(dim=1, keepdim=True)
    step = torch.arange(steps, device=mask.device)
    start, end = step * length // steps, ((step + 1) * length + steps - 1) // steps
    # Differences of running sums: a mask product would cost steps x T a band.
    sums = F.pad((frames * mask[..., None]).cumsum(dim=1), (0, 0, 1, 0))

    def upto(place: Tensor) -> Tensor:
        return sums.gather(1, place[..., None].expand(-1, -1, frames.shape[2]))

    return (upto(end) - upto(start)) / (end - start).clamp(min=1)[..., None]


class TokenEmbedding(nn.Module):
    """A factorised table, vocabulary x token_width -> width, then positions; in training words are blanked."""

    def __init__(
        self, vocabulary: int, token_width: int, width: int, dropout: float, word_dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, token_width)
        self.word_dropout = word_dropout
        nn.init.normal_(self.table.weight, std=token_width**-0.5)
        self.project = nn.Linear(token_width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.positions = Positions(width, dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens int64 [B, L] -> [B, L, width]"""
        x = self.table(tokens)
        if self.training and self.word_dropout:
            x = x * (torch.rand(tokens.shape, device=x.device) >= self.word_dropout)[..., None]
        out: Tensor = self.positions(self.norm(self.project(x)))
        return out


def principal_components(table: Tensor, width: int) -> Tensor:
    """[V, D] -> float32 [V, width]: coordinates on the leading directions of the centred table, scaled to a mean
    squared row norm of 1 (what the random table has); columns beyond the table's rank are 0.

    Centred, because all rows of a pretrained table share a large mean that tells no two words apart. The sign of
    each direction is such that its largest entry is positive, so that every machine finds the same.
    """
    centred = table.double() - table.double().mean(dim=0)
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    kept = min(width, len(values))
    leading = vectors[:, values.argsort(descending=True)[:kept]]
    largest = leading.abs().argmax(dim=0)
    leading = leading * leading[largest, torch.arange(kept)].sign()
    coordinates = centred @ leading
    coordinates = coordinates / coordinates.square().sum(dim=1).mean().sqrt().clamp(min=1e-12)
    return F.pad(coordinates, (0, width - kept)).float()
