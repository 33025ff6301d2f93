"""Which part of a picture is kept: a square, in shares of the picture as it is to be looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.importers.frames import Frame

if TYPE_CHECKING:
    from PIL.Image import Image

_REDUCING = 3.0
"""Pictures far larger than the square are first averaged down to so many times its side."""


@dataclass(frozen=True)
class Box:
    """Its middle as shares of the picture's width and height, its side as a share of the shorter of them."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Rectangle:
    """Where a corpus says that its speaker is: edges as shares of the picture's width and height, in [0, 1]."""

    left: float
    top: float
    right: float
    bottom: float

    def enclosing(self, size: tuple[float, float]) -> Box:
        """The smallest square round it in a picture of (width, height), at least a pixel; the largest there is
        where that is larger. It has no margin: the corpus has said what is to be seen."""
        width, height = size
        longer = max((self.right - self.left) * width, (self.bottom - self.top) * height, 1.0)
        side = min(1.0, longer / min(width, height))
        return Box((self.left + self.right) / 2, (self.top + self.bottom) / 2, side)


MIDDLE = Box(0.5, 0.5, 1.0)
"""The largest square there is."""


def square(frame: Frame, side: int, place: Box | Rectangle = MIDDLE) -> Image:
    """RGB [side, side] of what is in the box, or round the rectangle; it is moved inside where it juts out."""
    from PIL import Image

    width, height = frame.size
    box = place.enclosing(frame.size) if isinstance(place, Rectangle) else place
    length = box.side * min(width, height)
    left = min(max(box.x * width - length / 2, 0.0), width - length)
    top = min(max(box.y * height - length / 2, 0.0), height - length)
    rows, columns, _ = frame.rgb.shape
    right, bottom = min((left + length) / frame.aspect, columns), min(top + length, rows)
    bounds = (left / frame.aspect, top, right, bottom)
    picture = Image.fromarray(frame.rgb)
    return picture.resize((side, side), Image.Resampling.BICUBIC, box=bounds, reducing_gap=_REDUCING)
