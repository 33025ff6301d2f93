"""Attention within a stream and between two, and what makes one vector of a stream.

Pre-LN with a separate LayerNorm for queries and keys; key padding is masked everywhere, and nothing is causal
(both differ from the public code of S1's authors on purpose; methods reference, section 1.1).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainables.encoders import Dropout


def key_mask(mask: Tensor) -> Tensor:
    """bool [B, 1, 1, S] for attention; a row without a valid key looks at all of them, instead of giving NaN."""
    return (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid steps: [B, T, d], [B, T] -> [B, d]; 0 where none is valid."""
    weights = mask.to(x.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.bmm(weights[:, None, :], x)[:, 0]


class Attention(nn.Module):
    """Multi-head attention of x over y, without dropout on the weights: torch's fused kernel then serves it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, y: Tensor, keys: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """x [B, T, d], y [B, S, d], keys [B, 1, 1, S] -> [B, T, d] and, if asked, the mean map [B, T, S]."""
        batch, time, width = x.shape
        query = self.query(x).view(batch, time, self.heads, -1).transpose(1, 2)
        both = self.key_value(y).view(batch, y.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        key, value = both[0], both[1]
        mean = None
        if maps:
            scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            weights = scores.masked_fill(~keys, -torch.inf).softmax(dim=-1)
            mixed, mean = weights @ value, weights.mean(dim=1)
        else:
            mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=keys)
        return self.out(mixed.transpose(1, 2).reshape(batch, time, width)), mean


class Block(nn.Module):
    """x + attention(LN x over LN y), then x + FFN(LN x); y is x itself in self-attention."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float, cross: bool) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(width)
        self.norm_key = nn.LayerNorm(width) if cross else None
        self.attention = Attention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, ratio * width), nn.Linear(ratio * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, y: Tensor, keys: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        query = self.norm_query(x)
        source = query if self.norm_key is None else self.norm_key(y)
        mixed, mean = self.attention(query, source, keys, maps)
        x = x + self.dropout(mixed)
        return x + self.dropout(self.narrow(F.relu(self.widen(self.norm(x))))), mean


class CrossModal(nn.Module):
    """One layer of two-way attention: audio over text and text over audio, each over the other's input."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float) -> None:
        super().__init__()
        self.audio = Block(width, heads, ratio, dropout, cross=True)
        self.text = Block(width, heads, ratio, dropout, cross=True)

    def forward(self, a: Tensor, t: Tensor, a_keys: Tensor, t_keys: Tensor) -> tuple[Tensor, Tensor]:
        return self.audio(a, t, t_keys)[0], self.text(t, a, a_keys)[0]


class SelfStack(nn.Module):
    """Self-attention blocks within one stream, and a last LayerNorm."""

    def __init__(self, width: int, heads: int, ratio: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, ratio, dropout, cross=False) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, keys: Tensor, maps: bool = False) -> tuple[Tensor, Tensor | None]:
        """The stream and, if asked, the last block's head-averaged map [B, T, T]."""
        mean = None
        for i, block in enumerate(self.blocks):
            x, mean = block(x, x, keys, maps and i == len(self.blocks) - 1)
        return self.norm(x), mean


class Pooling(nn.Module):
    """The masked mean, or a mean weighted by one learned score a step."""

    def __init__(self, width: int, kind: Literal["mean", "attention"]) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[B, T, d], [B, T] -> [B, d]"""
        if self.score is None:
            return masked_mean(x, mask)
        keys = key_mask(mask)[:, 0, 0]
        weights = self.score(x)[..., 0].masked_fill(~keys, -torch.inf).softmax(dim=1)
        return torch.bmm(weights[:, None, :].to(x.dtype), x)[:, 0]
