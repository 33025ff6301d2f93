"""The stand-in's drawn faces: what moves them, what they tell of the emotion, and that they tell nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainables.spec import EMOTIONS, StandInSpec
from trainables.standin.expressions import EXPRESSIONS, LOOKS, Units
from trainables.standin.faces import SIZE, Pose, picture
from trainables.standin.films import RATE, Film, talk
from trainables.standin.rules import plan
from trainables.standin.voices import VOICES

LINES = plan(StandInSpec(utterances=600))
LINE = LINES[0]
STILL = Pose()
UNITS = sorted({unit for units in EXPRESSIONS.values() for unit in units})


def drawn(units: Units, pose: Pose = STILL, speaker: str = "Ada") -> NDArray[np.float64]:
    """One face in grey [96, 96], 0 to 255."""
    face = picture(LOOKS[speaker], units, pose, 1.0, (120, 120, 120))
    assert face.size == (SIZE, SIZE) and face.mode == "RGB"
    return np.asarray(face.convert("L"), dtype=np.float64)


def small(face: Image.Image) -> NDArray[np.float64]:
    """As grey values [24 * 24]."""
    grey = face.convert("L").resize((24, 24), Image.Resampling.BOX)
    return np.asarray(grey, dtype=np.float64).reshape(-1)


def shown(line: int, *parts: float) -> NDArray[np.float64]:
    """The mean of some pictures of a film, each at a part (0 to 1) of its length."""
    film = Film.of(LINES[line])
    pictures = [small(film.picture(round(part * (len(film) - 1)))) for part in parts]
    return np.asarray(np.mean(pictures, axis=0))


@pytest.mark.parametrize("unit", UNITS)
def test_every_action_unit_moves_the_face(unit: int) -> None:
    change = np.abs(drawn({unit: 1.0}) - drawn({}))
    assert change.max() > 20


@pytest.mark.parametrize(("one", "other"), combinations(EMOTIONS, 2))
def test_any_two_emotions_differ_by_more_than_a_head_sways(one: str, other: str) -> None:
    between = np.abs(drawn(EXPRESSIONS[one]) - drawn(EXPRESSIONS[other])).mean()
    assert between > 2.0
    assert between > 10 * np.abs(drawn(EXPRESSIONS[one]) - drawn(EXPRESSIONS[one], Pose(gaze=0.1))).mean()


def test_eyes_close_and_lips_part() -> None:
    eyes, mouth = np.s_[36:50], np.s_[62:86]
    closed, speaking = drawn({}, Pose(blink=1.0)), drawn({}, Pose(talk=1.0))
    assert np.abs(closed - drawn({}))[eyes].max() > 100
    assert np.abs(closed - drawn({}))[mouth].max() == 0
    assert np.abs(speaking - drawn({}))[mouth].max() > 20
    assert np.abs(speaking - drawn({}))[eyes].max() == 0


def test_everyone_looks_like_themselves() -> None:
    faces = [drawn({}, speaker=voice.speaker) for voice in VOICES]
    assert min(np.abs(one - other).mean() for one, other in combinations(faces, 2)) > 2


@pytest.mark.parametrize(
    ("heard", "part", "expected"), [("aaa", 0.5, 1.0), ("xxx", 0.5, 0.0), ("Hey so", 0.2, 2 / 3)]
)
def test_vowels_open_the_mouth(heard: str, part: float, expected: float) -> None:
    assert talk(heard, part) == pytest.approx(expected)


def test_a_film_is_the_same_for_the_same_line_and_another_for_another_seed() -> None:
    pixels = [
        [face.tobytes() for face in Film.of(line)] for line in (LINE, LINE, replace(LINE, look=LINE.look + 1))
    ]
    assert pixels[0] == pixels[1] != pixels[2]
    assert len(pixels[0]) == round(Film.of(LINE).seconds * RATE) > 8


def test_nothing_but_the_face_bears_on_a_film() -> None:
    """Neither the voice nor the cue words, so that the ceiling of the pictures is that of the face."""
    assert LINE.text == "Enough, she is outraged in here."
    said = replace(LINE, text="Goodness, she is speechless in here.", words="surprise")
    loud = replace(said, voice="fear", rate=300, pitch=99, level=-10.0, labels=("joy",), emotions=("joy",))
    assert Film.of(loud) == Film.of(LINE) != Film.of(replace(loud, text="Goodness, she is speechless now."))
    assert [face.tobytes() for face in Film.of(loud)] == [face.tobytes() for face in Film.of(LINE)]


@pytest.mark.parametrize("face", EMOTIONS)
def test_the_first_picture_says_nothing_and_the_last_one_all(face: str) -> None:
    acted, calm = Film.of(replace(LINE, face=face)), Film.of(replace(LINE, face="neutral"))
    assert acted.picture(0).tobytes() == calm.picture(0).tobytes()
    assert (acted.picture(len(acted) - 1).tobytes() == calm.picture(len(calm) - 1).tobytes()) == (face == "neutral")


def test_a_linear_model_tells_what_the_face_shows_from_small_grey_means() -> None:
    """Three pictures of each film: near its beginning, its middle, its end. The first one alone tells nothing."""
    faces = np.array([line.face for line in LINES])
    means = np.stack([shown(number, 0.3, 0.6, 1.0) for number in range(len(LINES))])
    firsts = np.stack([shown(number, 0.0) for number in range(len(LINES))])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    assert model.fit(means[:450], faces[:450]).score(means[450:], faces[450:]) > 0.9
    most = Counter(faces[450:]).most_common(1)[0][1] / 150
    assert model.fit(firsts[:450], faces[:450]).score(firsts[450:], faces[450:]) < most + 0.1
