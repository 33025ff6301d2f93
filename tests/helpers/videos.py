"""Small videos with known pictures: what is written at which moment, in which container, with which trap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tests.helpers.sounds import RATE, tone

Picture = NDArray[np.uint8]
WIDTH, HEIGHT = 96, 64
TICKS = 1000
"""Of a second: in these the moments of `write_video` are kept."""


def plain(level: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """One grey all over, which no codec changes much."""
    return np.full((height, width, 3), level, np.uint8)


def counting(count: int) -> list[Picture]:
    """Picture i has eight bands, from top to bottom the bits of i, so that a picture tells which it is."""
    bits = [[255 * (index >> bit & 1) for bit in range(8)] for index in range(count)]
    bands = np.repeat(np.array(bits, np.uint8), HEIGHT // 8, axis=1)
    return [np.repeat(band[:, None, None], WIDTH, axis=1).repeat(3, axis=2) for band in bands]


def number(picture: Picture) -> int:
    """Which picture of `counting` it is: [side, side, 3]."""
    bands = picture.reshape(8, -1).astype(float).mean(axis=1)
    return sum(int(level > 127) << bit for bit, level in enumerate(bands))


def quarters(width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """White at the top left, red at the top right, blue at the bottom left, black at the bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255
    picture[: height // 2, width // 2 :, 0] = 255
    picture[height // 2 :, : width // 2, 2] = 255
    return picture


def write_video(
    path: Path,
    pictures: Sequence[Picture],
    times: Sequence[float] | float = 25.0,
    *,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
    aspect: Fraction | None = None,
    change: Callable[[Any], None] = lambda stream: None,
    options: dict[str, str] | None = None,
    sound: float | None = None,
    sound_from: float = 0.0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """`times`: a rate, or when each picture begins, in seconds. `change` is made to the stream of pictures.

    `sound`: so many seconds of a tone in AAC, which begins at `sound_from` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = times if isinstance(times, float) else 25.0
    moments = [i / rate for i in range(len(pictures))] if isinstance(times, float) else list(times)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width, _ = pictures[0].shape
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, TICKS)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        change(stream)
        audio: Any = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for picture, moment in zip(pictures, moments, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(moment * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            _write_sound(container, audio, sound, sound_from)
    return path


def _write_sound(container: Any, stream: Any, seconds: float, start: float) -> None:
    samples = tone(seconds).astype(np.float32)[None]
    for first in range(0, samples.shape[1], 1024):
        block = np.ascontiguousarray(samples[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, round(start * RATE) + first
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
