"""The square round a clip's face: where a real face is, that it stays, and what is done where there is none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.helpers.meld_trees import row, write_csvs
from tests.helpers.videos import Picture, plain, write_video
from trainables.errors import UserError
from trainables.importers import faces
from trainables.importers.crop import Box
from trainables.importers.faces import MARGIN, Face, find_face, steadiest
from trainables.importers.frames import Reel
from trainables.importers.media import Part
from trainables.importers.video import read_images
from trainables.pictures import decode_images
from trainables.prepare import prepare
from trainables.spec import MeldSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.storage import Storage

VISUAL = VisualSpec(rate=5, size=64, crop="face")
WIDTH, HEIGHT = 640, 360


@pytest.fixture(scope="module")
def portrait() -> Picture:
    """A photograph of a face, 200 x 200, whose middle is the face's."""
    data = pytest.importorskip("skimage.data", reason="the extra 'faces' is not installed")
    return np.asarray(Image.fromarray(data.astronaut()[20:220, 120:320]))


def scene(portrait: Picture, x: int, y: int, side: int = 200) -> Picture:
    """The portrait with its top left at (x, y) of a grey wall."""
    picture = plain(120, WIDTH, HEIGHT)
    picture[y : y + side, x : x + side] = np.asarray(Image.fromarray(portrait).resize((side, side)))
    return picture


def box_of(path: Path) -> Box | None:
    return find_face(Reel(path, 4.0, 15.0, Part()))


def landscape() -> Picture:
    """Waves and noise: edges of all directions and nobody."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = 120 + 50 * np.sin(columns / 17) + 30 * np.sin(rows / 9 + columns / 40)
    noisy: Picture = np.clip(waves[..., None] + rng.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)
    return noisy


@pytest.mark.parametrize(("x", "y"), [(0, 0), (400, 100), (220, 80)])
def test_a_face_is_found_where_it_is(x: int, y: int, portrait: Picture, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [scene(portrait, x, y)] * 30, options={"qscale": "2"})
    box = box_of(path)
    assert box is not None
    assert box.x * WIDTH == pytest.approx(x + 100, abs=25)
    assert box.y * HEIGHT == pytest.approx(y + 100, abs=25)
    assert 90 < box.side * HEIGHT < 200


@pytest.mark.parametrize(("turn", "aspect"), [(90, None), (0, Fraction(2))])
def test_it_is_looked_for_as_the_picture_is_to_be_seen(
    turn: int, aspect: Fraction | None, portrait: Picture, tmp_path: Path
) -> None:
    """Stored lying on its side, or half as wide."""
    picture = scene(portrait, 400, 100)
    stored = np.rot90(picture, -1).copy() if turn else picture[:, ::2].copy()

    def change(stream: Any) -> None:
        if turn:
            stream.set_display_rotation(turn)

    path = write_video(tmp_path / "a.mp4", [stored] * 30, aspect=aspect, change=change, options={"qscale": "2"})
    box = box_of(path)
    assert box is not None
    assert box.x * WIDTH == pytest.approx(500, abs=25)
    assert box.y * HEIGHT == pytest.approx(200, abs=25)


def test_a_moving_face_stays_in_one_square(portrait: Picture, tmp_path: Path) -> None:
    pictures = [scene(portrait, 150 + 4 * index, 80) for index in range(40)]
    path = write_video(tmp_path / "a.mp4", pictures, options={"qscale": "2"})
    box = box_of(path)
    assert box is not None
    assert box.x * WIDTH == pytest.approx(150 + 4 * 20 + 100, abs=40)
    assert box.side * HEIGHT > 160 + 90  # as far as it goes, and the face itself
    clip = read_images(path, VISUAL, 0.4, 15.0)
    assert (clip.status, clip.reason, clip.faceless) == ("ok", "", False)
    assert clip.images is not None
    assert len(clip.images) == 8


def test_the_stored_squares_are_the_face(portrait: Picture, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [scene(portrait, 20, 20)] * 30, options={"qscale": "2"})
    whole = read_images(path, VISUAL.model_copy(update={"crop": "whole"}), 0.4, 15.0)
    face = read_images(path, VISUAL, 0.4, 15.0)
    assert whole.images is not None
    assert face.images is not None
    wall = [
        (np.abs(decode_images(images).astype(int) - 120).max(axis=3) < 8).mean()
        for images in (whole.images, face.images)
    ]
    assert wall[0] > 0.5
    assert wall[1] < 0.1


@pytest.mark.parametrize("picture", [plain(120, WIDTH, HEIGHT), landscape()], ids=["wall", "landscape"])
def test_the_middle_is_taken_where_nobody_is(picture: Picture, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="the extra 'faces' is not installed")
    path = write_video(tmp_path / "a.mp4", [picture] * 25, options={"qscale": "2"})
    clip = read_images(path, VISUAL, 0.4, 15.0)
    assert (clip.status, clip.reason, clip.faceless) == ("ok", "", True)
    assert clip.images == read_images(path, VISUAL.model_copy(update={"crop": "whole"}), 0.4, 15.0).images


def test_a_face_that_is_there_once_is_not_believed(portrait: Picture, tmp_path: Path) -> None:
    pictures = [scene(portrait, 200, 80)] * 4 + [plain(120, WIDTH, HEIGHT)] * 46
    assert box_of(write_video(tmp_path / "a.mp4", pictures, options={"qscale": "2"})) is None


LARGE, SMALL, ELSEWHERE = Face(0.5, 0.5, 0.4), Face(1.4, 0.5, 0.1), Face(0.2, 0.8, 0.2)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([[LARGE]] * 5, LARGE),
        ([[SMALL, LARGE]] * 5, LARGE),
        ([[LARGE], [], [LARGE], [], [LARGE]], LARGE),
        ([[LARGE], [], [], [], []], None),
        ([[LARGE], [SMALL], [SMALL], [SMALL], [SMALL], [SMALL, ELSEWHERE]], SMALL),
        ([[SMALL]], SMALL),
        ([[], []], None),
        ([], None),
    ],
    ids=["one", "the larger", "with gaps", "once", "the one that stays", "one picture", "none", "no pictures"],
)
def test_the_face_that_stays_longest_and_largest_is_taken(found: list[list[Face]], expected: Face | None) -> None:
    face = steadiest(found)
    if expected is None:
        assert face is None
        return
    assert face is not None
    assert (face.x, face.y) == pytest.approx((expected.x, expected.y))
    assert face.side == pytest.approx(MARGIN * expected.side)


def test_one_stray_detection_does_not_move_the_square() -> None:
    away = Face(0.6, 0.5, 0.4)
    face = steadiest([[LARGE]] * 10 + [[away]] + [[LARGE]] * 10)
    assert face is not None
    assert (face.x, face.side) == pytest.approx((LARGE.x, MARGIN * LARGE.side))


def test_the_square_is_never_larger_than_the_picture() -> None:
    face = steadiest([[Face(0.5, 0.5, 0.9)]] * 3)
    assert face is not None
    assert face.side == 1.0


def test_overlap_is_intersection_over_union() -> None:
    assert Face(0.5, 0.5, 0.2).overlap(Face(0.6, 0.5, 0.2)) == pytest.approx(1 / 3)
    assert Face(0.5, 0.5, 0.2).overlap(Face(0.8, 0.9, 0.2)) == 0.0


def test_without_the_package_preparing_says_which_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    root = write_csvs(tmp_path / "meld", {"train": [row(0, 0)]})
    for split in ("train", "dev", "test"):
        write_video(root / split / "dia0_utt0.mp4", [plain(9)] * 5)
    spec = MeldSpec(modalities=("visual",), visual=VISUAL)
    with pytest.raises(UserError, match=r"pip install 'orch\[faces\]'"):
        prepare(Storage(str(tmp_path / "store")), spec, root, 1, lambda done, total: None)
