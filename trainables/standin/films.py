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
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.standin import expressions
from trainables.standin.expressions import EXPRESSIONS, LOOKS, Colour, Look, Units
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
_BLINK_SECONDS, _BLINK_EVERY = 0.12, 2.5
_HELD = (0.03, 0.03, 0.04)


@dataclass(frozen=True)
class Motion:
    """How a head is held, how it sways and looks about, and when its eyes blink (seconds)."""

    held: tuple[float, float, float]
    """Right, down (half pictures), roll (radians)."""
    phases: tuple[float, float, float, float]
    blink: float

    @classmethod
    def of(cls, chance: random.Random, seconds: float) -> Motion:
        x, y, roll = (chance.uniform(-most, most) for most in _HELD)
        a, b, c, d = (chance.uniform(0, 2 * math.pi) for _ in range(4))
        return cls((x, y, roll), (a, b, c, d), chance.uniform(0, max(_BLINK_EVERY, seconds)))

    def at(self, time: float, talk: float) -> Pose:
        x, y, roll = self.held
        turns = [speed * time + phase for speed, phase in zip((2.1, 2.9, 1.7, 1.1), self.phases, strict=True)]
        right, down, rolling, gaze = (math.sin(turn) for turn in turns)
        blink = max(0.0, 1 - abs(time - self.blink) / _BLINK_SECONDS)
        return Pose(x + 0.02 * right, y + 0.02 * down, roll + 0.03 * rolling, 0.5 * gaze, blink, talk)


@dataclass(frozen=True)
class Film:
    """The pictures of an utterance at RATE, RGB, each `faces.SIZE` square."""

    look: Look
    units: Units
    """At the height of the expression."""
    heard: str
    seconds: float
    onset: float
    """When the face begins to leave neutral, in seconds."""
    motion: Motion
    light: float
    wall: Colour

    @classmethod
    def of(cls, line: Line) -> Film:
        """The same for the same line."""
        chance, heard = random.Random(line.look), muted(line.text)
        seconds = (_STILL_SECONDS + _LETTER_SECONDS * len(heard)) * chance.uniform(*_PACE)
        return cls(
            look=LOOKS[line.speaker.speaker],
            units=acted(line.face, chance),
            heard=heard,
            seconds=seconds,
            onset=chance.uniform(*expressions.ONSET) * seconds,
            motion=Motion.of(chance, seconds),
            light=chance.uniform(*_LIGHT),
            wall=(chance.randint(*_SHADE), chance.randint(*_SHADE), chance.randint(*_SHADE)),
        )

    def __len__(self) -> int:
        return round(self.seconds * RATE)

    def __iter__(self) -> Iterator[Image]:
        return map(self.picture, range(len(self)))

    def picture(self, number: int) -> Image:
        time = number / RATE
        level = _smooth((time - self.onset) / expressions.RISE_SECONDS)
        now = {unit: level * intensity for unit, intensity in self.units.items()}
        pose = self.motion.at(time, talk(self.heard, time / self.seconds))
        return picture(self.look, now, pose, self.light, self.wall)


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
    middle = min(int(part * len(heard)), len(heard) - 1)
    near = heard[max(0, middle - 1) : middle + 2].lower()
    return sum(letter in "aeiouy" for letter in near) / 3


def _smooth(part: float) -> float:
    """0 before 0, 1 after 1, without a corner between (3p² - 2p³)."""
    inside = min(1.0, max(0.0, part))
    return inside * inside * (3 - 2 * inside)
