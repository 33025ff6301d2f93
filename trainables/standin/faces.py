"""Faces drawn with Pillow: a speaker's head, moved by the action units of `expressions`.

Positions are in half pictures from the centre, y downwards. Trigonometry is Python's own: the last digit of NumPy's
depends on the processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.standin import expressions as au
from trainables.standin.expressions import Colour, Look, Units

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 96
"""Side of a picture in pixels."""
_CLOSE = 1.15  # how far the picture is filled
_FINER = 2  # drawn so many times larger, then reduced
_WHITE, _DARK, _RED = (244, 242, 238), (34, 26, 26), (120, 20, 30)

Point = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """Of one picture: where the head is, how it is turned (radians), and what passes over the face."""

    x: float = 0.0
    y: float = 0.0
    roll: float = 0.0
    gaze: float = 0.0
    blink: float = 0.0
    """1: the eyes are closed."""
    talk: float = 0.0
    """1: the mouth is as wide open as a vowel makes it."""


def picture(look: Look, units: Units, pose: Pose, light: float, background: Colour) -> Image:
    """One face, SIZE x SIZE, RGB; `light` is a factor on every colour."""
    from PIL import Image

    canvas = _Canvas(pose, light, background)
    _head(canvas, look, units)
    _nose(canvas, look, units)
    for side in (-1.0, 1.0):
        _eye(canvas, look, units, pose, side)
        _brow(canvas, look, units, side)
    _mouth(canvas, look, units, pose)
    return canvas.image.resize((SIZE, SIZE), Image.Resampling.BOX)


class _Canvas:
    """Shapes in the head's own coordinates."""

    def __init__(self, pose: Pose, light: float, background: Colour) -> None:
        from PIL import Image, ImageDraw

        self._pose, self._light = pose, light
        self._half = SIZE * _FINER / 2
        self._close = self._half * _CLOSE
        self._turn = math.cos(pose.roll), math.sin(pose.roll)
        self.image = Image.new("RGB", (SIZE * _FINER, SIZE * _FINER), self._lit(background))
        self._draw = ImageDraw.Draw(self.image)

    def fill(self, points: Sequence[Point], colour: Colour) -> None:
        self._draw.polygon(self._placed(points), fill=self._lit(colour))

    def stroke(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        thick = max(1, round(width * self._close))
        self._draw.line(self._placed(points), fill=self._lit(colour), width=thick, joint="curve")

    def _placed(self, points: Sequence[Point]) -> list[Point]:
        cos, sin = self._turn
        return [
            (
                self._half * (1 + self._pose.x) + self._close * (cos * x - sin * y),
                self._half * (1 + self._pose.y) + self._close * (sin * x + cos * y),
            )
            for x, y in points
        ]

    def _lit(self, colour: Colour) -> Colour:
        red, green, blue = (min(255, round(part * self._light)) for part in colour)
        return red, green, blue


def _head(canvas: _Canvas, look: Look, units: Units) -> None:
    width, height, jaw = 0.6 * look.width, 0.78 * look.height, 0.05 * units.get(au.JAW, 0)
    canvas.fill(_ellipse(0, -0.1, width + 0.1, height), look.hair)
    if look.long_hair:
        canvas.fill(
            [(-width - 0.1, -0.1), (width + 0.1, -0.1), (width + 0.16, 0.75), (-width - 0.16, 0.75)], look.hair
        )
    else:
        for side in (-1, 1):
            canvas.fill(_ellipse(side * width, -0.02, 0.08, 0.14), _mixed(look.skin, _DARK, 0.15))
    canvas.fill(_ellipse(0, 0.06 + jaw, width, height + jaw), look.skin)
    top = [(x, y) for x, y in _ellipse(0, 0.06, width + 0.01, height + 0.01) if y < -0.54]
    canvas.fill(top, look.hair)


def _nose(canvas: _Canvas, look: Look, units: Units) -> None:
    wrinkle, smile = units.get(au.NOSE_WRINKLER, 0), units.get(au.LIP_CORNER, 0)
    tip, shade = 0.16 * look.nose - 0.04 * wrinkle, _mixed(look.skin, _DARK, 0.45)
    canvas.stroke([(-0.07, tip), (-0.04, tip + 0.04), (0.04, tip + 0.04), (0.07, tip)], shade, 0.03)
    for side in (-1, 1):
        fold = _mixed(look.skin, _DARK, 0.5 * max(wrinkle, 0.5 * smile))
        canvas.stroke([(side * 0.12, tip), (side * 0.24, tip + 0.1), (side * 0.3, tip + 0.24)], fold, 0.035)
        for step in (0.0, 0.07):
            mark = _mixed(look.skin, _DARK, 0.7 * wrinkle)
            canvas.stroke([(side * 0.02, -0.06 + step), (side * 0.1, -0.02 + step)], mark, 0.03)


def _eye(canvas: _Canvas, look: Look, units: Units, pose: Pose, side: float) -> None:
    narrow = 0.45 * max(units.get(au.CHEEK, 0), units.get(au.LID_TIGHTENER, 0)) + 0.25 * units.get(
        au.NOSE_WRINKLER, 0
    )
    open_ = 0.085 * (1 + 0.6 * units.get(au.UPPER_LID, 0)) * (1 - min(0.75, narrow)) * (1 - pose.blink)
    x, y = side * 0.26 * look.eyes, -0.12 - 0.03 * units.get(au.UPPER_LID, 0)
    if open_ > 0.012:
        canvas.fill(_ellipse(x, y, 0.14, open_), _WHITE)
        canvas.fill(_ellipse(x + 0.04 * pose.gaze, y + 0.1 * (0.085 - open_), 0.06, min(0.065, open_)), _DARK)
    lid = _mixed(look.skin, _DARK, 0.7)
    canvas.stroke([(x + 0.14 * c, y - open_ * math.sqrt(1 - c * c)) for c in _STEPS], lid, 0.03)
    bag = _mixed(look.skin, _DARK, 0.4 * max(units.get(au.CHEEK, 0), units.get(au.LID_TIGHTENER, 0)))
    canvas.stroke([(x - 0.13, y + 0.08), (x, y + 0.11), (x + 0.13, y + 0.08)], bag, 0.03)


def _brow(canvas: _Canvas, look: Look, units: Units, side: float) -> None:
    inner_up, outer_up, down = (units.get(u, 0) for u in (au.INNER_BROW, au.OUTER_BROW, au.BROW_LOWERER))
    lowered = down * (1 - 0.8 * inner_up)  # the inner brow goes up against the lowerer (fear, sadness)
    press = 0.05 * units.get(au.NOSE_WRINKLER, 0)
    inner = (0.1 - 0.03 * down, -0.31 - 0.16 * inner_up + 0.14 * lowered + press)
    outer = (0.42, -0.29 - 0.17 * outer_up + 0.04 * down * (1 - outer_up) + press)
    middle = (0.28, (inner[1] + outer[1]) / 2 - 0.04 - 0.02 * outer_up)
    curve = _curve(*((side * look.eyes * x, y) for x, y in (inner, middle, outer)))
    canvas.stroke(curve, _mixed(look.hair, _DARK, 0.4), 0.065 * look.brow)
    furrow = _mixed(look.skin, _DARK, 0.6 * down)
    canvas.stroke([(side * 0.035, inner[1] - 0.02), (side * 0.03, inner[1] + 0.1)], furrow, 0.025)


def _mouth(canvas: _Canvas, look: Look, units: Units, pose: Pose) -> None:
    smile, down, stretch, tight, part, jaw, chin = (
        units.get(unit, 0)
        for unit in (
            au.LIP_CORNER, au.LIP_CORNER_DOWN, au.LIP_STRETCHER, au.LIP_TIGHTENER, au.LIPS_PART, au.JAW, au.CHIN,
        )
    )  # fmt: skip
    wrinkle, lower = units.get(au.NOSE_WRINKLER, 0), units.get(au.LOWER_LIP, 0)
    y = 0.46 - 0.03 * chin
    half = 0.25 * look.mouth * (1 + 0.35 * smile + 0.4 * stretch - 0.25 * tight - 0.3 * jaw)
    corner = y - 0.12 * smile + 0.13 * down + 0.02 * stretch
    gap = 0.32 * jaw + 0.1 * part + 0.05 * pose.talk * (1 - 0.5 * tight)
    above = y - 0.3 * gap - 0.09 * wrinkle + 0.03 * smile - 0.04 * down
    below = y + 0.7 * gap + 0.06 * lower + 0.08 * smile * part + 0.03 * smile - 0.03 * down
    # A parabola through corner, middle, corner has its control point twice as far off.
    upper = _curve((-half, corner), (0, 2 * above - corner), (half, corner))
    under = _curve((half, corner), (0, 2 * below - corner), (-half, corner))
    canvas.fill([*upper, *under], _DARK)
    if below - above > 0.08:
        teeth = _curve((half, corner), (0, 2 * (above + 0.4 * (below - above)) - corner), (-half, corner))
        canvas.fill([*upper, *teeth], _mixed(_WHITE, _DARK, 0.6 * jaw))
    canvas.stroke([*upper, *under, upper[0]], _mixed(look.skin, _RED, 0.55), 0.05 * (1 - 0.5 * tight))
    dimple = _mixed(look.skin, _DARK, 0.5 * chin)
    canvas.stroke([(-0.1, 0.64), (0, 0.61), (0.1, 0.64)], dimple, 0.035)


_STEPS = [step / 5 - 1 for step in range(11)]
_CIRCLE = [(math.cos(math.pi * step / 16), math.sin(math.pi * step / 16)) for step in range(32)]


def _ellipse(x: float, y: float, across: float, up: float) -> list[Point]:
    return [(x + across * cos, y + up * sin) for cos, sin in _CIRCLE]


def _curve(start: Point, control: Point, end: Point) -> list[Point]:
    """A parabola (quadratic Bézier curve) in nine points."""
    parts = [step / 8 for step in range(9)]
    weights = [((1 - t) ** 2, 2 * t * (1 - t), t * t) for t in parts]
    return [
        (a * start[0] + b * control[0] + c * end[0], a * start[1] + b * control[1] + c * end[1])
        for a, b, c in weights
    ]


def _mixed(one: Colour, other: Colour, part: float) -> Colour:
    """`part` of the other colour in the one."""
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue
