"""Stored pictures: what goes in as JPEG comes out in colour and in grey, at the side that is asked for."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainables.pictures import decode_images, encode_image, grey, spread

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def plain(colour: tuple[int, int, int], side: int = 64) -> bytes:
    return encode_image(Image.new("RGB", (side, side), colour))


def ramp(side: int) -> NDArray[np.uint8]:
    """Darker on the left: [side, side, 3]."""
    return np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8)[None, :, None], (side, side, 3)).copy()


def test_pictures_come_back_in_colour_and_in_order() -> None:
    found = decode_images([plain(RED), plain(GREEN), plain(BLUE)])
    assert found.shape == (3, 64, 64, 3)
    assert found.dtype == np.uint8
    for picture, colour in zip(found, (RED, GREEN, BLUE), strict=True):
        assert np.abs(picture.astype(int) - colour).max() <= 3


@pytest.mark.parametrize(("colour", "luma"), [(RED, 76), (GREEN, 150), (BLUE, 29), ((255, 255, 255), 255)])
def test_grey_is_the_luma_of_bt_601(colour: tuple[int, int, int], luma: int) -> None:
    found = grey([plain(colour)], 32)
    assert found.shape == (1, 32, 32)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - luma).max() <= 2  # 0.299 R + 0.587 G + 0.114 B


@pytest.mark.parametrize("side", [16, 48, 100, 112, 160])
def test_grey_keeps_the_picture_at_every_side(side: int) -> None:
    found = grey([encode_image(Image.fromarray(ramp(112)))] * 2, side)
    assert found.shape == (2, side, side)
    assert np.array_equal(found[0], found[1])
    columns = found[0].mean(axis=0)
    assert np.abs(columns - 255 * (np.arange(side) + 0.5) / side).max() < 6


def test_no_pictures_are_an_empty_array_in_grey() -> None:
    assert grey([], 48).shape == (0, 48, 48)


def test_the_same_picture_gives_the_same_bytes_and_few_of_them() -> None:
    noise = np.random.default_rng(0).normal(0, 8, (112, 112, 3))
    picture = Image.fromarray(np.clip(ramp(112) + noise, 0, 255).astype(np.uint8))
    first = encode_image(picture)
    assert first == encode_image(picture)
    assert len(first) < 112 * 112 * 3 / 4


def test_what_is_no_jpeg_is_refused() -> None:
    with io.BytesIO() as buffer:
        Image.new("RGB", (8, 8)).save(buffer, "PNG")
        with pytest.raises(OSError, match="cannot identify"):
            decode_images([buffer.getvalue()])


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [
        (0, 3, []),
        (1, 8, [0]),
        (3, 4, [0, 1, 2]),
        (5, 8, [0, 1, 2, 3, 4]),
        (8, 4, [1, 3, 5, 7]),
        (9, 4, [1, 3, 5, 7]),
        (10, 3, [1, 5, 8]),
        (9, 1, [4]),
    ],
)
def test_pictures_are_spread_evenly(count: int, most: int, places: list[int]) -> None:
    assert spread(count, most) == places
