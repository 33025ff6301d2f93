"""A box given by the corpus: the square round it, and what is seen of the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.videos import Picture, plain, write_video
from trainables.importers.crop import Rectangle
from trainables.importers.video import read_images
from trainables.pictures import decode_images
from trainables.spec import MeldSpec
from trainables.spec.any_corpus import VisualSpec

VISUAL = VisualSpec(rate=5, size=32, crop="corpus")
WIDTH, HEIGHT = 160, 96
BRIGHT = Rectangle(0.7, 0.25, 0.9, 0.5)
"""Of `scene`: 112 to 144 of 160 columns, 24 to 48 of 96 lines, round which lies a square of 32."""


def scene() -> Picture:
    """Dark, but for the square of 32 about the middle of `BRIGHT`."""
    picture = plain(0, WIDTH, HEIGHT)
    picture[20:52, 112:144] = 255
    return picture


def shown(path: Path, box: Rectangle | None, **changes: Any) -> Picture:
    clip = read_images(path, VISUAL.model_copy(update=changes), 0.4, 15.0, box=box)
    assert (clip.status, clip.reason) == ("ok", "")
    assert clip.images is not None
    picture: Picture = decode_images(clip.images)[0]
    return picture


@pytest.mark.parametrize(
    ("box", "size", "expected"),
    [
        (Rectangle(0.2, 0.4, 0.4, 0.6), (200.0, 100.0), (0.3, 0.5, 0.4)),  # 40 wide, 20 high
        (Rectangle(0.45, 0.2, 0.55, 0.8), (200.0, 100.0), (0.5, 0.5, 0.6)),  # 20 wide, 60 high
        (Rectangle(0.2, 0.4, 0.4, 0.6), (100.0, 200.0), (0.3, 0.5, 0.4)),  # 20 wide, 40 high
        (Rectangle(0.0, 0.0, 0.9, 0.5), (200.0, 100.0), (0.45, 0.25, 1.0)),  # 180 wide, and there are 100
        (Rectangle(0.0, 0.0, 1.0, 1.0), (200.0, 100.0), (0.5, 0.5, 1.0)),
        (Rectangle(0.5, 0.5, 0.5001, 0.5001), (200.0, 100.0), (0.50005, 0.50005, 0.01)),  # a pixel
    ],
    ids=["wide", "high", "wide in a high picture", "wider than the picture is high", "all", "less than a pixel"],
)
def test_the_square_is_the_smallest_round_the_box(
    box: Rectangle, size: tuple[float, float], expected: tuple[float, float, float]
) -> None:
    found = box.enclosing(size)
    assert (found.x, found.y, found.side) == pytest.approx(expected)


@pytest.mark.parametrize("aspect", [Fraction(1), Fraction(2)], ids=["square pixels", "stored half as wide"])
@pytest.mark.parametrize("turned", [False, True], ids=["upright", "stored on its side"])
def test_a_box_is_of_the_picture_as_it_is_looked_at(turned: bool, aspect: Fraction, tmp_path: Path) -> None:
    picture = scene()
    stored = np.rot90(picture, -1) if turned else picture
    stored = stored[:, :: int(aspect)].copy()

    def change(stream: Any) -> None:
        if turned:
            stream.set_display_rotation(90)

    path = write_video(tmp_path / "a.mp4", [stored] * 10, aspect=aspect, change=change, options={"qscale": "1"})
    assert shown(path, BRIGHT).mean() > 240
    assert shown(path, Rectangle(0.1, 0.25, 0.3, 0.5)).mean() < 15


def test_a_square_that_juts_out_is_moved_inside(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [scene()[20:52, 80:144]] * 10, options={"qscale": "1"})
    assert shown(path, Rectangle(0.8, 0.0, 1.0, 0.99)).mean() > 240


def test_without_a_box_it_is_the_middle_and_with_another_crop_a_box_says_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [scene()] * 10)
    middle = shown(path, None, crop="whole")
    assert np.array_equal(shown(path, None), middle)
    assert np.array_equal(shown(path, BRIGHT, crop="whole"), middle)
    assert not np.array_equal(shown(path, BRIGHT), middle)


def test_a_corpus_without_boxes_refuses_to_be_cropped_by_them() -> None:
    with pytest.raises(ValueError, match="this corpus gives no crop; take face or whole"):
        MeldSpec(visual=VISUAL)
