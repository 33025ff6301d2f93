"""The last resort: the voiced part of a clip shared out among the words by their number of letters.

It knows nothing of what is said when, so that what is measured with it compares with nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainables.alignment.base import Alignment, Segment
from trainables.alignment.spelling import shared_out, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_SECONDS = 0.02
BELOW_LOUDEST = 35.0
"""Decibels below the clip's loudest window at which speech begins and ends."""
SILENT = 1e-4
"""Root mean square of the loudest window (of full scale 1) below which nobody speaks: -80 dB."""


def proportional(samples: NDArray[np.float32], rate: int, text: str, language: str = "en") -> Alignment | None:
    """`samples` [time] in -1 to 1 at `rate` hertz; None where the text has no word or the clip no sound."""
    words, voiced = words_of(text), voiced_interval(samples, rate)
    if not words or voiced is None:
        return None
    start, end = voiced
    letters = np.cumsum([0, *(sum(map(str.isalnum, word.casefold())) for word in words)])
    bounds = (start + letters / letters[-1] * (end - start)).tolist()
    spans = [Segment(word, bounds[i], bounds[i + 1]) for i, word in enumerate(words)]
    return shared_out(spans, "proportional", language)


def voiced_interval(samples: NDArray[np.float32], rate: int) -> tuple[float, float] | None:
    """(start, end) in seconds of what is at most `BELOW_LOUDEST` dB below the loudest window; None for silence."""
    window = max(1, round(WINDOW_SECONDS * rate))
    count = -(-len(samples) // window)
    padded = np.pad(samples.astype(np.float64), (0, count * window - len(samples)))
    loudness = np.sqrt(np.mean(padded.reshape(count, window) ** 2, axis=1))
    if not count or loudness.max() < SILENT:
        return None
    loud = np.flatnonzero(loudness >= loudness.max() * 10 ** (-BELOW_LOUDEST / 20))
    return float(loud[0] * window / rate), float(min((loud[-1] + 1) * window, len(samples)) / rate)
