"""Segments as frames, by hand: j0 = floor(b / 0.02), j1 = max(j0 + 1, ceil(e / 0.02)), clipped."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.alignment.frames import frame_segments

FRAMES = 50  # one second


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [
        (0.0, 0.02, (0, 1)),
        (0.06, 0.12, (3, 6)),  # 0.06 / 0.02 is 3, whatever floats say
        (0.07, 0.13, (3, 7)),
        (0.101, 0.103, (5, 6)),  # shorter than a frame
        (0.1, 0.1, (5, 6)),
        (0.97, 1.4, (48, 50)),  # cut at the end
        (-0.41, 0.05, (0, 3)),  # cut at the start
        (0.99, 1.0, (49, 50)),
    ],
)
def test_a_segments_frames(start: float, end: float, frames: tuple[int, int]) -> None:
    for dtype in (np.float64, np.float32):
        segment = {"label": "a", "start": float(dtype(start)), "end": float(dtype(end))}
        assert frame_segments([segment], FRAMES).tolist() == [list(frames)]


@pytest.mark.parametrize(("start", "end"), [(1.0, 1.2), (3.0, 3.1), (-0.5, -0.1)])
def test_what_lies_outside_the_audio_is_left_out(start: float, end: float) -> None:
    assert frame_segments([{"label": "a", "start": start, "end": end}], FRAMES).shape == (0, 2)


def test_silences_are_left_out_and_the_rest_stays_in_order() -> None:
    labels = ["sil", "HH", "AY1", "", "spn", "<eps>", "B", "SIL"]
    segments = [{"label": label, "start": i * 0.1, "end": i * 0.1 + 0.1} for i, label in enumerate(labels)]
    found = frame_segments(segments, FRAMES)
    assert found.dtype == np.int32
    assert found.tolist() == [[5, 10], [10, 15], [30, 35]]


def test_frames_may_have_another_length() -> None:
    assert frame_segments([{"label": "a", "start": 0.05, "end": 0.21}], 10, 0.04).tolist() == [[1, 6]]
