"""Pictures that do not arrive: the last one that did stays on."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Images = TypeVar("Images", bound=np.generic)


def shown(count: int, share: float, seed: int) -> NDArray[np.int64]:
    """[count]: which picture is seen at each time when each is lost with probability `share`.

    That is the last one that came; before the first that came, that one; the first of all where none came.
    """
    came = np.random.default_rng(seed).random(count) >= share
    if not came.any():
        return np.zeros(count, dtype=np.int64)
    last: NDArray[np.int64] = np.maximum.accumulate(np.where(came, np.arange(count, dtype=np.int64), -1))
    return np.where(last < 0, came.argmax(), last)


def frames_dropped(images: NDArray[Images], share: float, seed: int) -> NDArray[Images]:
    """`images` [T, ...] (pictures or vectors) as they are seen when each is lost with probability `share`."""
    return images[shown(len(images), share, seed)]
