"""Tiny takes of a speaker on video: pictures of one grey with a tone, or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE = 64
"""Of the pictures, in pixels."""
PICTURE_RATE = 10
_CODECS = {".flv": ("flv1", "mp3", 22_050), ".mp4": ("mpeg4", "aac", 16_000)}
"""Video, sound and its hertz by the file's kind; `.flv` as CREMA-D's are."""


def write_take(
    path: Path, seconds: float = 0.5, hertz: float = 440.0, grey: int = 128, *, sound: bool = True
) -> Path:
    """An flv or mp4, by the file's name, whose pictures are of one `grey` (0 to 255)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    video_codec, audio_codec, rate = _CODECS[path.suffix.lower()]
    with av.open(str(path), "w", format=path.suffix[1:].lower()) as container:
        video: Any = container.add_stream(video_codec, rate=PICTURE_RATE)
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream(audio_codec, rate=rate, layout="mono") if sound else None
        for number in range(round(seconds * PICTURE_RATE)):
            picture = av.VideoFrame.from_ndarray(np.full((SIDE, SIDE), grey, np.uint8), format="gray")
            picture.pts = number
            container.mux(video.encode(picture.reformat(format="yuv420p")))
        container.mux(video.encode(None))
        if audio is not None:
            time = np.arange(round(seconds * rate)) / rate
            samples = (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path
