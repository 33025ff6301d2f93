"""Utterances as padded batches: length buckets, tokens, waves, pictures, and what the fusion teacher reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from trainables.corpus import SAMPLE_RATE, decoded
from trainables.pictures import decode_images, spread
from trainables.spec.base import Modality
from trainables.teachers.encoders import SHORTEST, LoadedEncoder, WaveRules
from trainables.teachers.heads import FusionInputs, Inputs
from trainables.teachers.images import PictureRules

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

_BUCKET = 50
"""Batches whose rows are sorted together: enough to waste little padding, few enough to keep order random."""


Batch = TypeVar("Batch")


class Source(Protocol):
    """Utterances that can be padded into a batch; `lengths` [N] only needs to order them."""

    lengths: NDArray[np.float64]

    def collate(self, rows: Rows) -> Inputs | FusionInputs: ...


def epoch_batches(lengths: NDArray[np.float64], size: int, seed: int, epoch: int) -> list[Rows]:
    """Every row once, in batches of like length and random order; depends on the arguments alone."""
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    batches: list[Rows] = []
    for start in range(0, len(order), _BUCKET * size):
        chunk = order[start : start + _BUCKET * size]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches.extend(chunk[i : i + size] for i in range(0, len(chunk), size))
    return [batches[i] for i in rng.permutation(len(batches))]


def length_batches(lengths: NDArray[np.float64], size: int) -> list[Rows]:
    """Every row once, sorted by length; for inference."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + size] for i in range(0, len(order), size)]


def split_rows(rows: Rows, rank: int, world: int, microbatch: int | None) -> list[Rows]:
    """One worker's share of a global batch in pieces of at most `microbatch` rows; may be empty."""
    share = rows[rank::world]
    size = microbatch or max(len(share), 1)
    return [share[i : i + size] for i in range(0, len(share), size)]


def prefetched(collate: Callable[[Rows], Batch], batches: Iterable[Rows]) -> Iterator[tuple[Rows, Batch]]:
    """Each batch with its inputs, the next one being prepared in a thread meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = None
        for rows in batches:
            following = (rows, pool.submit(collate, rows))
            if waiting is not None:
                yield waiting[0], waiting[1].result()
            waiting = following
        if waiting is not None:
            yield waiting[0], waiting[1].result()


def padded(rows: Sequence[Tensor], value: float = 0.0) -> tuple[Tensor, Tensor]:
    """[T_i, ...] rows to [B, T, ...] and the mask [B, T], True = valid."""
    lengths = torch.tensor([len(r) for r in rows])
    values = pad_sequence(list(rows), batch_first=True, padding_value=value)
    return values, torch.arange(values.shape[1])[None] < lengths[:, None]


def decode(flac: bytes | None, silence_seconds: float) -> Tensor:
    """FLAC of 16 kHz mono to samples in [-1, 1]; silence where there is none; never under `SHORTEST`."""
    if flac is None:
        return torch.zeros(max(SHORTEST, round(silence_seconds * SAMPLE_RATE)))
    wave = torch.from_numpy(decoded(flac))
    return torch.nn.functional.pad(wave, (0, max(0, SHORTEST - len(wave))))


class TextSource:
    """Texts as the encoder's word pieces, tokenised once."""

    def __init__(self, texts: Sequence[str], encoder: LoadedEncoder) -> None:
        tokenizer = encoder.tokenizer
        encoded = tokenizer(
            list(texts), truncation=True, max_length=encoder.longest_text, return_attention_mask=False
        )
        self._ids = [torch.tensor(ids) for ids in encoded["input_ids"]]
        self._pad = int(tokenizer.pad_token_id)
        self.lengths = np.asarray([len(ids) for ids in self._ids], dtype=np.float64)

    def collate(self, rows: Rows) -> Inputs:
        return Inputs(*padded([self._ids[i] for i in rows], self._pad))


class AudioSource:
    """FLAC clips, decoded when a batch asks for them, so that memory holds the compressed bytes."""

    def __init__(self, clips: Sequence[Any], rules: WaveRules, silence_seconds: float) -> None:
        """`clips`: an Arrow column or list of FLAC bytes or None."""
        self._clips, self._rules, self._silence = clips, rules, silence_seconds
        self.lengths = np.asarray([self._samples(i) for i in range(len(clips))], dtype=np.float64)

    def _clip(self, row: int) -> bytes | None:
        clip = self._clips[row]
        data: bytes | None = clip.as_py() if hasattr(clip, "as_py") else clip
        return data

    def _samples(self, row: int) -> int:
        import soundfile

        clip = self._clip(row)
        if clip is None:
            return round(self._silence * SAMPLE_RATE)
        return int(soundfile.info(io.BytesIO(clip)).frames)

    def wave(self, row: int) -> Tensor:
        """As stored, not normalised."""
        return decode(self._clip(row), self._silence)

    def collate(self, rows: Rows) -> Inputs:
        waves = [self.wave(int(i)) for i in rows]
        if self._rules.normalise:
            waves = [(w - w.mean()) / (w.var(unbiased=False) + 1e-7).sqrt() for w in waves]
        return Inputs(*padded(waves))


class ImageSource:
    """Pictures of clips as JPEG, at most `rules.frames` of each, decoded when a batch asks for them."""

    def __init__(self, clips: Sequence[Any], rules: PictureRules) -> None:
        """`clips`: an Arrow column or list of lists of JPEG bytes; black where there are none."""
        self._clips, self._rules = clips, rules
        counts = [min(len(self._images(i)), rules.frames) for i in range(len(clips))]
        self.lengths = np.maximum(np.asarray(counts, dtype=np.float64), 1)

    def _images(self, row: int) -> list[bytes]:
        clip = self._clips[row]
        return (clip.as_py() if hasattr(clip, "as_py") else clip) or []

    def pictures(self, row: int) -> Tensor:
        """[F, 3, side, side] uint8"""
        images = self._images(row)
        if not images:
            return torch.zeros(1, 3, self._rules.side, self._rules.side, dtype=torch.uint8)
        return self._rules.resized(decode_images([images[i] for i in spread(len(images), self._rules.frames)]))

    def collate(self, rows: Rows) -> Inputs:
        return Inputs(*padded([self.pictures(int(i)) for i in rows]))


class FeatureSource:
    """Frozen sequences of the fine-tuned teachers, float16 in memory, and spans by granularity."""

    def __init__(
        self,
        streams: Mapping[Modality, Sequence[Tensor]],
        segments: Mapping[str, Sequence[NDArray[np.int32]]] | None = None,
    ) -> None:
        """`segments`: [S_i, 2] of each row, none where it is not aligned."""
        self._streams = streams
        self._segments = {g: [torch.from_numpy(s).long() for s in rows] for g, rows in (segments or {}).items()}
        self.lengths = np.asarray([len(row) for row in next(iter(streams.values()))], dtype=np.float64)

    def collate(self, rows: Rows) -> FusionInputs:
        streams = {m: padded([sequence[i].float() for i in rows]) for m, sequence in self._streams.items()}
        segments = {g: padded([spans[i] for i in rows]) for g, spans in self._segments.items()}
        return FusionInputs(streams, segments)
