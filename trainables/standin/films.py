"""What is seen of an utterance: a face that begins neutral, rises to its expression and stays there.

A film shows the utterance's `face` and nothing else that bears on the emotion. So that its ceiling is exact it
keeps its own time: how long it lasts and how the lips move follow the sentence with its cue words replaced
(`lexicon.muted`), which is the same for every emotion, at one pace for all. Were it to keep time with the voice,
its length and its rhythm would tell the voice's emotion as well. As it rises from neutral, a single picture from
its beginning says little.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

from trainables.standin import expressions
from trainables.standin.expressions import EXPRESSIONS, LOOKS
from trainables.standin.faces import Pose, picture
from trainables.standin.lexicon import muted
from trainables.standin.rules import Line

if TYPE_CHECKING:
    from PIL.Image import Image

RATE = 10
"""Pictures a second."""
_STILL_SECONDS, _LETTER_SECONDS = 0.53, 0.044  # so that it lasts as long as speech does on average
_PACE = (0.9, 1.1)
_LIGHT, _SHADE = (0.8, 1.1), (40, 200)
_BLINK_SECONDS = 0.12


def film(line: Line) -> Iterator[Image]:
    """The pictures of a line at RATE, RGB, each `faces.SIZE` square; the same for the same line."""
    chance, heard = random.Random(line.look), muted(line.text)
    seconds = (_STILL_SECONDS + _LETTER_SECONDS * len(heard)) * chance.uniform(*_PACE)
    units, motion = acted(line.face, chance), Motion(chance, seconds)
    onset = chance.uniform(*expressions.ONSET) * seconds
    light, wall = (
        chance.uniform(*_LIGHT),
        (chance.randint(*_SHADE), chance.randint(*_SHADE), chance.randint(*_SHADE)),
    )
    for frame in range(round(seconds * RATE)):
        time = frame / RATE
        level = _smooth((time - onset) / expressions.RISE_SECONDS)
        now = {unit: level * intensity for unit, intensity in units.items()}
        pose = motion.at(time, talk(heard, time / seconds))
        yield picture(LOOKS[line.speaker.speaker], now, pose, light, wall)


def acted(face: str, chance: random.Random) -> dict[int, float]:
    """The emotion's units as one person shows it once."""
    strength = chance.uniform(*expressions.STRENGTH)
    known = sorted({unit for units in EXPRESSIONS.values() for unit in units})
    shown = {
        unit: EXPRESSIONS[face].get(unit, 0.0) * strength * chance.uniform(*expressions.UNIT_STRENGTH)
        + chance.gauss(0, expressions.UNIT_JITTER)
        for unit in known
    }
    return {unit: min(1.0, max(0.0, intensity)) for unit, intensity in shown.items()}


def talk(heard: str, part: float) -> float:
    """How far the mouth is opened by the letters near `part` (0 to 1) of what is heard, in [0, 1]."""
    middle = round(part * len(heard))
    near = heard[max(0, middle - 1) : middle + 2].lower()
    return sum(letter in "aeiouy" for letter in near) / 3


class Motion:
    """How a head sways and looks about, and when its eyes blink."""

    def __init__(self, chance: random.Random, seconds: float) -> None:
        self._place = (chance.uniform(-0.03, 0.03), chance.uniform(-0.03, 0.03), chance.uniform(-0.04, 0.04))
        self._phases = [chance.uniform(0, 2 * math.pi) for _ in range(4)]
        self._blink = chance.uniform(0, max(2.5, seconds))

    def at(self, time: float, talk: float) -> Pose:
        x, y, roll = self._place
        sway = [
            math.sin(speed * time + phase) for speed, phase in zip((2.1, 2.9, 1.7, 1.1), self._phases, strict=True)
        ]
        blink = max(0.0, 1 - abs(time - self._blink) / _BLINK_SECONDS)
        return Pose(x + 0.02 * sway[0], y + 0.02 * sway[1], roll + 0.03 * sway[2], 0.5 * sway[3], blink, talk)


def _smooth(part: float) -> float:
    """0 before 0, 1 after 1, without a corner between (3p² - 2p³)."""
    inside = min(1.0, max(0.0, part))
    return inside * inside * (3 - 2 * inside)
