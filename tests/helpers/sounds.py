"""Short sounds in files, for trees of corpora."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def tone(seconds: float, hertz: float = 440.0, level: float = 0.5) -> NDArray[np.float64]:
    """[samples] at `RATE`."""
    return np.asarray(level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE))


def write_sound(path: Path, seconds: float = 0.5, hertz: float = 440.0, channels: int = 1) -> Path:
    """A tone as WAV or FLAC, by the file's name; of two channels the second is silent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = tone(seconds, hertz)
    samples = first if channels == 1 else np.stack([first, *[0 * first] * (channels - 1)], axis=1)
    soundfile.write(path, samples, RATE)
    return path
