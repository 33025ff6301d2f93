"""Clips as mp4: Apple Lossless sound, and pictures in H.264, each where there is any.

Both by encoders that give the same bytes every time: one thread, and for the pictures a fixed quantiser, so that
nothing is decided by floating-point rates. Pictures are turned into the encoder's colours by Pillow and integers:
libswscale's result depends on the processor.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trainables.standin.faces import SIZE
from trainables.standin.films import RATE as PICTURE_RATE
from trainables.standin.speech import RATE, Samples

if TYPE_CHECKING:
    from av import AudioStream, VideoStream
    from av.container import OutputContainer
    from PIL.Image import Image

_FRAME = 4096  # samples; what an Apple Lossless packet holds
_ENCODER = {"preset": "ultrafast", "qp": "18", "threads": "1", "x264-params": "threads=1:lookahead_threads=1"}


def write_clip(target: Path, samples: Samples | None, pictures: Iterable[Image] | None = None) -> None:
    """Write int16 samples [time] and RGB pictures at `films.RATE`; None where there are none."""
    import av

    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        sound = (
            container.add_stream("alac", rate=RATE, layout="mono", format="s16p") if samples is not None else None
        )
        film = _film(container) if pictures is not None else None
        if sound is not None and samples is not None:
            _write_sound(container, sound, samples)
        if film is not None and pictures is not None:
            _write_pictures(container, film, pictures)


def _film(container: OutputContainer) -> VideoStream:
    import av

    stream = container.add_stream("libx264", rate=PICTURE_RATE, options=_ENCODER)
    stream.width = stream.height = SIZE
    stream.pix_fmt = "yuv420p"
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def _write_sound(container: OutputContainer, stream: AudioStream, samples: Samples) -> None:
    import av

    for start in range(0, len(samples), _FRAME):
        block = samples[None, start : start + _FRAME].copy()
        frame = av.AudioFrame.from_ndarray(block, format="s16p", layout="mono")
        frame.sample_rate, frame.pts = RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _write_pictures(container: OutputContainer, stream: VideoStream, pictures: Iterable[Image]) -> None:
    import av

    for number, picture in enumerate(pictures):
        frame = av.VideoFrame.from_ndarray(planes(picture), format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, PICTURE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def planes(picture: Image) -> NDArray[np.uint8]:
    """An RGB picture of even sides as planar YCbCr of BT.601's studio range: uint8 [1.5 height, width].

    Both colour planes are halved each way, each value the mean of four.
    """
    full = np.asarray(picture.convert("YCbCr"), dtype=np.int32)
    height, width, _ = full.shape
    light = 16 + (full[..., 0] * 219 + 127) // 255
    both = full[..., 1:]
    fours = both[::2, ::2] + both[1::2, ::2] + both[::2, 1::2] + both[1::2, 1::2]
    colour = 128 + ((fours - 4 * 128) * 224 + 4 * 127) // (4 * 255)
    flat = [light.reshape(-1), colour[..., 0].reshape(-1), colour[..., 1].reshape(-1)]
    packed: NDArray[np.uint8] = np.concatenate(flat).astype(np.uint8).reshape(height * 3 // 2, width)
    return packed
