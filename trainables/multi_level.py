"""The network of S2: speech at several granularities and text, co-attention at each, and a classifier of each.

Derived (methods reference, section 2.2), not the paper's own formulas. For each level g of speech

    S^g_k = mean of F_j over the frames of segment k;  A = LN(P_a S^g), W = LN(P_w text pieces)
    A' = LN(A + MHA(A, W, W)),  A'' = LN(A' + FFN(A'))      and both ways at once:
    W' = LN(W + MHA(W, A, A)),  W'' = LN(W' + FFN(W'))      z^g = MLP([pool A''; pool W''])

and beside the levels z_a = MLP(mean F) and z_w = MLP(first piece, or mean). Decisions that it leaves open:
- The projection is linear, so that segments are averaged after it, which is the same and d / 768 of the work.
- An utterance that has no segment at a level, not aligned or without a word, is read at that level by its frames.
- Where audio is read without text the attention falls away and the feed-forward part stays.
The sequences have positions in them already (both encoders do), so none are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainables.encoders import Dropout
from trainables.fusion import Attention, Pooling, key_mask, masked_mean
from trainables.spec.base import Modality
from trainables.spec.multi_level import SPEECH_LEVELS, MultiLevelShape

Masked = tuple[Tensor, Tensor]
"""Values [B, T, ...] and their mask [B, T]."""


@dataclass(frozen=True)
class MultiLevelOutput:
    members: Tensor
    """[B, M, C] float32 logits, in the order of `MultiLevelNetwork.members`."""
    pooled: dict[Modality, Tensor]
    """[B, width] float32: the mean over the levels of what is pooled of each stream."""


def segment_means(frames: Tensor, spans: Tensor) -> Tensor:
    """frames [B, T, d], spans [B, S, 2] (first frame, the one after the last) -> [B, S, d]; 0 for an empty span.

    One product with the matrix of weights: exact and with a deterministic gradient everywhere, where a cumulative
    sum has neither, and faster on a CPU.
    """
    steps = torch.arange(frames.shape[1], device=frames.device)
    inside = ((steps >= spans[..., :1]) & (steps < spans[..., 1:])).to(frames.dtype)
    return torch.bmm(inside / inside.sum(dim=2, keepdim=True).clamp(min=1), frames)


def or_frames(spans: Tensor, mask: Tensor, frame_mask: Tensor) -> Masked:
    """The spans [B, S, 2] and their mask, and for a row that has none one span for each of its frames."""
    empty = ~mask.any(dim=1)
    if not bool(empty.any()):
        return spans, mask
    longest = max(spans.shape[1], frame_mask.shape[1])
    first = torch.arange(longest, device=spans.device)
    each = torch.stack([first, first + 1], dim=1).to(spans.dtype)
    spans = F.pad(spans, (0, 0, 0, longest - spans.shape[1]))
    mask, frame_mask = (F.pad(m, (0, longest - m.shape[1])) for m in (mask, frame_mask))
    return torch.where(empty[:, None, None], each, spans), torch.where(empty[:, None], frame_mask, mask)


class PostNorm(nn.Module):
    """A' = LN(A + MHA(A, W, W)), A'' = LN(A' + FFN(A')); without a second stream the FFN alone."""

    def __init__(self, spec: MultiLevelShape, crossed: bool) -> None:
        super().__init__()
        width = spec.width
        self.attention = Attention(width, spec.heads) if crossed else None
        self.norm_attention = nn.LayerNorm(width) if crossed else None
        self.widen = nn.Linear(width, spec.feedforward_ratio * width)
        self.narrow = nn.Linear(spec.feedforward_ratio * width, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = Dropout(spec.dropout)

    def forward(self, x: Tensor, other: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        """x [B, T, d], other [B, S, d], keys [B, 1, 1, S] -> [B, T, d]"""
        if self.attention is not None and self.norm_attention is not None:
            assert other is not None and keys is not None
            x = self.norm_attention(x + self.dropout(self.attention(x, other, keys)[0]))
        out: Tensor = self.norm(x + self.dropout(self.narrow(F.relu(self.widen(x)))))
        return out


class Head(nn.Module):
    """z = W_2 drop(relu(W_1 h)), and the hidden layer."""

    def __init__(self, inputs: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.out = nn.Linear(inputs, width), nn.Linear(width, classes)
        self.dropout = Dropout(dropout)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.inner(h).relu()
        return self.out(self.dropout(hidden)).float(), hidden.float()


class Level(nn.Module):
    """One granularity of speech, with the text where it is read: co-attention, pooling, classifier."""

    def __init__(self, spec: MultiLevelShape, classes: int, both: bool) -> None:
        super().__init__()
        streams: tuple[Modality, ...] = ("audio", "text") if both else ("audio",)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({m: PostNorm(spec, crossed=both) for m in streams}) for _ in range(spec.layers)
        )
        self.pool = nn.ModuleDict({m: Pooling(spec.width, spec.pooling) for m in streams})
        self.head = Head(len(streams) * spec.width, spec.width, classes, spec.dropout)

    def forward(self, audio: Masked, text: Masked | None) -> tuple[Tensor, dict[Modality, Tensor]]:
        """Logits [B, C], and [B, d] of each stream."""
        a, pooled = audio[0], dict[Modality, Tensor]()
        if text is None:
            for block in self.blocks:
                a = block["audio"](a)  # type: ignore[index]
        else:
            w, a_keys, w_keys = text[0], key_mask(audio[1]), key_mask(text[1])
            for block in self.blocks:
                a, w = block["audio"](a, w, w_keys), block["text"](w, a, a_keys)  # type: ignore[index]
            pooled["text"] = self.pool["text"](w, text[1]).float()
        pooled = {"audio": self.pool["audio"](a, audio[1]).float(), **pooled}
        logits, _ = self.head(torch.cat(list(pooled.values()), dim=1))
        return logits, pooled


class MultiLevelNetwork(nn.Module):
    """Every member of the late fusion. With text alone its unimodal classifier is the only one."""

    def __init__(self, spec: MultiLevelShape, widths: Mapping[Modality, int], classes: int) -> None:
        """`widths`: of the sequences of the modalities that are read, audio before text."""
        super().__init__()
        levels = [g for g in SPEECH_LEVELS if g in spec.levels] if "audio" in widths else []
        alone = widths if spec.unimodal or not levels else {}
        self.text_vector = spec.text_vector
        self.members: tuple[str, ...] = (*levels, *alone)
        """Their names: levels, then modalities."""
        read = widths if levels else {}
        self.project = nn.ModuleDict({m: nn.Linear(width, spec.width) for m, width in read.items()})
        self.norm = nn.ModuleDict({m: nn.LayerNorm(spec.width) for m in read})
        self.dropout = Dropout(spec.dropout)
        self.levels = nn.ModuleDict({g: Level(spec, classes, len(widths) > 1) for g in levels})
        self.alone_norm = nn.ModuleDict({m: nn.LayerNorm(width) for m, width in alone.items()})
        self.alone = nn.ModuleDict({m: Head(w, spec.width, classes, spec.dropout) for m, w in alone.items()})

    def forward(self, streams: Mapping[Modality, Masked], segments: Mapping[str, Masked]) -> MultiLevelOutput:
        """`streams`: frames and word pieces [B, T, D]; `segments`: of each level but `frame`, spans [B, S, 2]."""
        members, pooled = self._levels(streams, segments)
        for m, head in self.alone.items():
            modality: Modality = "audio" if m == "audio" else "text"
            logits, hidden = head(self.alone_norm[m](self._whole(modality, *streams[modality])))
            members.append(logits)
            if not self.levels:
                pooled.append({modality: hidden})
        means = {m: torch.stack([each[m] for each in pooled]).mean(dim=0) for m in pooled[0]}
        return MultiLevelOutput(torch.stack(members, dim=1), means)

    def _levels(
        self, streams: Mapping[Modality, Masked], segments: Mapping[str, Masked]
    ) -> tuple[list[Tensor], list[dict[Modality, Tensor]]]:
        if not self.levels:
            return [], []
        frames = self.project["audio"](streams["audio"][0])
        text: Masked | None = None
        if "text" in streams:
            text = self.dropout(self.norm["text"](self.project["text"](streams["text"][0]))), streams["text"][1]
        found = []
        for name, level in self.levels.items():
            speech, mask = frames, streams["audio"][1]
            if name != "frame":
                spans, mask = or_frames(*segments[name], streams["audio"][1])
                speech = segment_means(frames, spans)
            found.append(level((self.dropout(self.norm["audio"](speech)), mask), text))
        return [logits for logits, _ in found], [pooled for _, pooled in found]

    def _whole(self, modality: Modality, values: Tensor, mask: Tensor) -> Tensor:
        """[B, D] of an utterance: the mean of its frames; the first piece of its text, or their mean."""
        first = modality == "text" and self.text_vector == "first"
        return values[:, 0] if first else masked_mean(values, mask)
