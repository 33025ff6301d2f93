"""The inverted transformer of S4 (methods reference, section 4.3): tokens are feature channels, not time steps.

iTransformer (Liu et al., ICLR 2024) with what speech needs: utterances of any length are brought to one by adaptive
average pooling of their valid frames, and each channel has a learned embedding. Derived: the source only says
"variable tokens". `tokens: query` is the other reading: learned queries that look at the time steps.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.encoders import Dropout, resampled, sinusoids
from trainables.fusion import Attention, Pooling, masked_mean
from trainables.losses.attention import resize_map
from trainables.spec.student import InvertedTransformer
from trainables.students.base import Sizes, Student, StudentOutput, Widths

_LEAST_VARIANCE = 1e-5


def instance_norm(frames: Tensor, mask: Tensor) -> Tensor:
    """Each band to mean 0 and variance 1 over its utterance's valid frames: [B, T, mel], [B, T] -> [B, T, mel].

    The variance is the biased one plus 1e-5; the padding becomes 0.
    """
    centred = (frames - masked_mean(frames, mask)[:, None]) * mask[..., None]
    variance = masked_mean(centred.square(), mask)[:, None]
    return centred / (variance + _LEAST_VARIANCE).sqrt()


class PostNormBlock(nn.Module):
    """LN(x + attention(x)), then LN(x + FFN(x)), with GELU between the two layers of the FFN."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.norm_attention, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [B, S, d] and, if asked, its map [B, S, S], averaged over heads."""
        mixed, mean = self.attention(x, x, keys, maps)
        x = self.norm_attention(x + self.dropout(mixed))
        inner = self.dropout(F.gelu(self.widen(x)))
        return self.norm(x + self.dropout(self.narrow(inner))), mean


class VariateTokens(nn.Module):
    """One linear layer from a band's time course to its token, the same for all, and an embedding of each band."""

    def __init__(self, bands: int, length: int, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(length, width)
        # As large as what it is added to: a band that is hardly told from another is found out late or never.
        self.bands = nn.Parameter(torch.randn(bands, width))

    def forward(self, steps: Tensor) -> Tensor:
        """[B, length, bands] -> [B, bands, d]"""
        out: Tensor = self.embed(steps.transpose(1, 2)) + self.bands
        return out


class QueryTokens(nn.Module):
    """Learned queries that attend to the time steps, each embedded with its place in the utterance."""

    def __init__(self, bands: int, length: int, width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.embed = nn.Linear(bands, width)
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(queries, width) * width**-0.5)
        self.attention = Attention(width, heads)
        self.register_buffer("places", sinusoids(length, width), persistent=False)
        self.places: Tensor

    def forward(self, steps: Tensor) -> Tensor:
        """[B, length, bands] -> [B, queries, d]"""
        x = self.norm(self.embed(steps) + self.places.to(steps.dtype))
        asked = self.queries.expand(len(x), -1, -1)
        out: Tensor = asked + self.attention(asked, x, _all(x))[0]
        return out


class InvertedStudent(Student):
    spec: InvertedTransformer

    def __init__(self, spec: InvertedTransformer, sizes: Sizes) -> None:
        super().__init__(spec)
        self.tokens: nn.Module
        if spec.tokens == "variate":
            self.tokens = VariateTokens(sizes.mel_bands, spec.length, spec.width)
        else:
            self.tokens = QueryTokens(sizes.mel_bands, spec.length, spec.width, spec.heads, spec.queries)
        self.dropout = Dropout(spec.dropout)
        shape = (spec.width, spec.heads, spec.feedforward_ratio, spec.dropout)
        self.blocks = nn.ModuleList(PostNormBlock(*shape) for _ in range(spec.layers))
        self.norm = nn.LayerNorm(spec.width)
        self.summary = nn.Parameter(torch.randn(1, 1, spec.width)) if spec.pooling == "cls" else None
        self.pool = None if spec.pooling == "cls" else Pooling(spec.width, spec.pooling)
        self.classifier = nn.Linear(spec.width, sizes.classes)

    @property
    def widths(self) -> Widths:
        return Widths(self.spec.width, {"audio": self.spec.width})

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """Its maps are of tokens over tokens (bands or queries, without the summary), not of time over time."""
        x = self.dropout(self.tokens(self._steps(batch)))
        if self.summary is not None:
            x = torch.cat([self.summary.expand(len(x), -1, -1).to(x.dtype), x], dim=1)
        mean = None
        for i, block in enumerate(self.blocks):
            x, mean = block(x, _all(x), attention > 0 and i == len(self.blocks) - 1)
        x = self.norm(x)
        embedding = _wide(x[:, 0] if self.pool is None else self.pool(x, _all(x)[:, 0, 0]))
        maps = {}
        if mean is not None:
            own = mean[:, 1:, 1:] if self.summary is not None else mean
            maps["audio"] = _wide(resize_map(_wide(own), _all(own)[:, 0, 0], attention))
        logits = _wide(self.classifier(embedding))
        return StudentOutput(logits, embedding, {"audio": embedding}, attention=maps)  # type: ignore[arg-type]

    @torch.no_grad()
    def _steps(self, batch: Batch) -> Tensor:
        """[B, length, bands]; nothing here is learned, and half precision is too coarse for running sums."""
        frames, mask = batch.streams["audio"].values, batch.streams["audio"].mask
        with torch.autocast(frames.device.type, enabled=False):
            if self.spec.normalisation == "instance":
                frames = instance_norm(frames, mask)
            return resampled(frames, mask, self.spec.length)


def _all(x: Tensor) -> Tensor:
    """bool [B, 1, 1, S] for x [B, S, ...]: every token is valid."""
    return torch.ones(len(x), 1, 1, x.shape[1], dtype=torch.bool, device=x.device)


def _wide(x: Tensor) -> Tensor:
    """float32 at least, whatever autocast made of it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
