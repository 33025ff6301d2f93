"""Where the face is that a clip shows longest: one square for the whole clip, so that nothing jumps.

The detector is scikit-image's cascade of local binary patterns, trained by OpenCV (Liao et al., ICB 2007), whose
weights are in its wheel. It finds upright frontal faces and now and then something else, so that what it finds is
followed over pictures spread over the clip, and believed only where it stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from trainables.errors import UserError
from trainables.importers.crop import Box
from trainables.importers.frames import Frame, Reel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOKING_RATE = 4.0
"""Pictures a second at most of which those are chosen that are looked at."""
PICTURES = 7
"""So many of a clip are looked at."""
LONGER_SIDE = 320
"""Of a picture that is looked at, in pixels."""
SMALLEST = 24
"""The detector's own window: the smallest face that it can see, in those pixels."""
MARGIN = 1.4
"""The square's side over that of the detections, which reach from the brows to the chin."""
STAYS = 0.4
"""The share of the pictures in which a face must be, and in two at least where there are two."""
_SAME = 0.3
"""Intersection over union from which two detections are one face."""


@dataclass(frozen=True)
class Face:
    """A square round a face: its middle and side in units of the picture's shorter side."""

    x: float
    y: float
    side: float

    def overlap(self, other: Face) -> float:
        """Intersection over union, in [0, 1]."""
        width, height = (
            min(a + self.side / 2, b + other.side / 2) - max(a - self.side / 2, b - other.side / 2)
            for a, b in ((self.x, other.x), (self.y, other.y))
        )
        both = max(0.0, width) * max(0.0, height)
        return both / (self.side**2 + other.side**2 - both)


def require() -> None:
    """UserError where the detector is not installed."""
    if find_spec("skimage") is None:
        raise UserError(
            "visual.crop: face finds faces with scikit-image, which is not installed: pip install 'orch[faces]', "
            "or take visual.crop: whole"
        )


def find_face(reel: Reel) -> Box | None:
    """The square round the clip's face, None where none is found. Reads the clip once."""
    from trainables.pictures import spread

    pictures: list[NDArray[np.uint8]] = []
    for frame in reel.frames():
        pictures += [_small(frame)] * frame.times
    chosen = spread(len(pictures), PICTURES)
    face = steadiest([_detect(pictures[index]) for index in chosen])
    if face is None:
        return None
    height, width = pictures[chosen[0]].shape
    shorter = min(height, width)
    return Box(face.x * shorter / width, face.y * shorter / height, face.side)


def steadiest(found: Sequence[Sequence[Face]]) -> Face | None:
    """The square that holds, with its margin, the face seen longest and largest in pictures in their order.

    A face is followed from picture to picture; the outer tenths of where it was are left out.
    """
    import numpy as np

    tracks: list[list[Face]] = []
    for faces in found:
        free = list(tracks)
        for face in sorted(faces, key=lambda face: -face.side):
            track = max(free, key=lambda track: track[-1].overlap(face), default=None)
            if track is not None and track[-1].overlap(face) >= _SAME:
                free.remove(track)
                track.append(face)
            else:
                tracks.append([face])
    least = max(min(2, len(found)), math.ceil(STAYS * len(found)))
    staying = [track for track in tracks if len(track) >= least]
    if not staying:
        return None
    longest = max(staying, key=lambda track: len(track) * float(np.median([face.side for face in track])))
    x, y, side = (np.array([getattr(face, name) for face in longest]) for name in ("x", "y", "side"))
    left, top = np.quantile(x - side / 2, 0.1), np.quantile(y - side / 2, 0.1)
    right, bottom = np.quantile(x + side / 2, 0.9), np.quantile(y + side / 2, 0.9)
    length = MARGIN * max(right - left, bottom - top)
    return Face(float(left + right) / 2, float(top + bottom) / 2, min(1.0, float(length)))


def _small(frame: Frame) -> NDArray[np.uint8]:
    """Grey [height, width] with square pixels, the longer side `LONGER_SIDE`."""
    import numpy as np
    from PIL import Image

    scale = LONGER_SIDE / max(frame.size)
    width, height = (max(1, round(scale * side)) for side in frame.size)
    picture = Image.fromarray(frame.rgb).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(picture.convert("L"))


def _detect(picture: NDArray[np.uint8]) -> list[Face]:
    shorter = min(picture.shape)
    if shorter < SMALLEST:
        return []
    smallest, largest = (SMALLEST, SMALLEST), (shorter, shorter)
    found = _cascade().detect_multi_scale(picture, 1.2, 1.0, smallest, largest)
    return [
        Face(
            (square["c"] + square["width"] / 2) / shorter,
            (square["r"] + square["height"] / 2) / shorter,
            square["width"] / shorter,
        )
        for square in found
    ]


@lru_cache(maxsize=1)
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())
