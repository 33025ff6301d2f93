"""Segments in seconds as spans of an encoder's frames (methods reference, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.alignment.base import is_silence

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame_segments(
    segments: Sequence[Mapping[str, Any]], frames: int, seconds_per_frame: float = 0.02
) -> NDArray[np.int32]:
    """[S, 2] of (first frame, frame after the last) of each segment that sounds within the `frames` frames.

    j0 = floor(b / s), j1 = max(j0 + 1, ceil(e / s)), clipped: a segment shorter than a frame has the frame that it
    starts in. `segments` have `label`, `start` and `end` (seconds); silences and what lies outside are left out.
    """
    found = []
    for segment in segments:
        if is_silence(segment["label"]):
            continue
        # Times are float32 multiples of a frame more often than not: the small term keeps 0.06 / 0.02 at 3.
        first = math.floor(segment["start"] / seconds_per_frame + 1e-4)
        last = math.ceil(segment["end"] / seconds_per_frame - 1e-4)
        if first < frames and (last > 0 or first >= 0):
            first = max(first, 0)
            found.append((first, min(max(first + 1, last), frames)))
    return np.asarray(found, dtype=np.int32).reshape(-1, 2)
