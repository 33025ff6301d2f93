"""What the student sees of an utterance: log-mel frames and the word pieces of a restricted vocabulary."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.corpus import SAMPLE_RATE
from trainables.spec.features import FeaturesSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

POWER_FLOOR = 1e-8
"""Added to the mel power before the logarithm: about -80 dB of full scale, so that silence stays finite."""
PAD_ID, UNK_ID = 0, 1
"""Of the `train` vocabulary; the `teacher` vocabulary keeps the teacher's own."""


@lru_cache(maxsize=4)
def _filters(bands: int, fft: int) -> Tensor:
    """[fft / 2 + 1, bands] on the Slaney mel scale, whose 80 bands all hold a bin of a 512-point transform."""
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(fft // 2 + 1, bands, 20.0, SAMPLE_RATE / 2, SAMPLE_RATE, mel_scale="slaney")
    return torch.from_numpy(bank).float()


def log_mel(wave: Tensor, spec: FeaturesSpec) -> Tensor:
    """Natural logarithm of the mel power of a 16 kHz wave in [-1, 1]: [samples] -> [frames, mel_bands].

    One frame every hop, centred, edges padded with zeros: frames = 1 + samples // hop.
    """
    window = round(spec.window_seconds * SAMPLE_RATE)
    hop = round(spec.hop_seconds * SAMPLE_RATE)
    fft = 2 ** math.ceil(math.log2(window))
    shape = torch.hann_window(window)
    spectrum = torch.stft(wave, fft, hop, window, shape, center=True, pad_mode="constant", return_complex=True)
    power = spectrum.abs().square().T / shape.sum().square()
    return (power @ _filters(spec.mel_bands, fft) + POWER_FLOOR).log()


@dataclass(frozen=True)
class Vocabulary:
    """The student's word pieces: `pieces[i]` is the teacher's id of the student's piece i."""

    pieces: tuple[int, ...]
    pad_id: int
    unk_id: int

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def _of(self) -> dict[int, int]:
        return {piece: index for index, piece in enumerate(self.pieces)}

    def encode(self, pieces: Sequence[int], longest: int) -> NDArray[np.int32]:
        """The student's ids, cut to `longest`; never empty: no text is one unknown piece."""
        ids = [self._of.get(piece, self.unk_id) for piece in pieces[:longest]]
        return np.asarray(ids or [self.unk_id], dtype=np.int32)


def pieces_of(tokenizer: Any, texts: Iterable[str]) -> list[list[int]]:
    """The teacher's piece ids of each text, without its special pieces."""
    texts = list(texts)
    if not texts:
        return []
    encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
    return list(encoded["input_ids"])


def build_vocabulary(tokenizer: Any, train_texts: Sequence[str], spec: FeaturesSpec) -> Vocabulary:
    """The pieces that the train split uses behind padding and unknown, or all of the teacher's."""
    pad, unknown = int(tokenizer.pad_token_id), int(tokenizer.unk_token_id)
    if spec.vocabulary == "teacher":
        return Vocabulary(tuple(range(len(tokenizer))), pad, unknown)
    used = {piece for row in pieces_of(tokenizer, train_texts) for piece in row[: spec.max_tokens]}
    return Vocabulary((pad, unknown, *sorted(used - {pad, unknown})), PAD_ID, UNK_ID)
