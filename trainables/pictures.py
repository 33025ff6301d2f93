"""Stored pictures of an utterance, JPEG squares: written by the importers, read by teachers and students alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUALITY = 90
"""Of the JPEG, with the colours at half the resolution: some 4 kB a square of 112."""


def encode_image(picture: Image.Image) -> bytes:
    """JPEG of an RGB picture; the same picture gives the same bytes."""
    with io.BytesIO() as buffer:
        picture.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
        return buffer.getvalue()


def decode_images(images: Sequence[bytes]) -> NDArray[np.uint8]:
    """RGB of all pictures of an utterance, one at least, all of one size: uint8 [time, side, side, 3]."""
    return np.stack([np.asarray(_opened(image).convert("RGB")) for image in images])


def grey(images: Sequence[bytes], side: int) -> NDArray[np.uint8]:
    """Luma (ITU-R BT.601, what a JPEG keeps first) at the student's size: uint8 [time, side, side].

    The decoder halves a picture while that leaves it large enough, so that only what is asked for is worked out.
    """
    found = np.empty((len(images), side, side), np.uint8)
    for index, image in enumerate(images):
        picture = _opened(image)
        picture.draft("L", (side, side))
        found[index] = np.asarray(picture.convert("L").resize((side, side), Image.Resampling.BILINEAR))
    return found


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the places below `count`, in order: the middles of equal parts."""
    parts = min(count, most)
    return [int((place + 0.5) * count / parts) for place in range(parts)]


def _opened(image: bytes) -> Image.Image:
    return Image.open(io.BytesIO(image), formats=["JPEG"])
