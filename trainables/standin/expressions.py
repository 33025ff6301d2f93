"""Who is seen in the stand-in, and what each emotion does to a face: the whole of its faces, as tables.

Expressions are in action units of the Facial Action Coding System (Ekman & Friesen 1978), and which units make an
emotion is as its authors' tables have it (EMFACS; Ekman, Friesen & Hager, FACS Investigator's Guide 2002). What a
unit does to the drawing, and how strongly, is ours (`faces`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Colour = tuple[int, int, int]

INNER_BROW, OUTER_BROW, BROW_LOWERER, UPPER_LID, CHEEK, LID_TIGHTENER = 1, 2, 4, 5, 6, 7
NOSE_WRINKLER, LIP_CORNER, LIP_CORNER_DOWN, LOWER_LIP, CHIN = 9, 12, 15, 16, 17
LIP_STRETCHER, LIP_TIGHTENER, LIPS_PART, JAW = 20, 23, 25, 26

Units = Mapping[int, float]
"""Action unit -> its intensity, 0 none to 1 full; a unit that is not there has none."""


@dataclass(frozen=True)
class Look:
    """A speaker's head. Colours are RGB, every other value a factor on the common measure."""

    skin: Colour
    hair: Colour
    width: float = 1.0
    height: float = 1.0
    eyes: float = 1.0
    """How far they are apart."""
    brow: float = 1.0
    """How thick."""
    mouth: float = 1.0
    nose: float = 1.0
    long_hair: bool = False


EXPRESSIONS: dict[str, Units] = {
    "neutral": {},
    "surprise": {INNER_BROW: 1, OUTER_BROW: 1, UPPER_LID: 1, LIPS_PART: 1, JAW: 1},
    "fear": {
        INNER_BROW: 1, OUTER_BROW: 0.6, BROW_LOWERER: 0.8, UPPER_LID: 1, LID_TIGHTENER: 0.3, LIP_STRETCHER: 1,
        LIPS_PART: 1, JAW: 0.2,
    },
    "sadness": {INNER_BROW: 1, BROW_LOWERER: 0.7, LIP_CORNER_DOWN: 1, CHIN: 0.8},
    "joy": {CHEEK: 1, LIP_CORNER: 1, LIPS_PART: 0.7},
    "disgust": {BROW_LOWERER: 0.3, LID_TIGHTENER: 0.5, NOSE_WRINKLER: 1, LIP_CORNER_DOWN: 0.6, LOWER_LIP: 1},
    "anger": {BROW_LOWERER: 1, UPPER_LID: 0.6, LID_TIGHTENER: 0.6, LIP_TIGHTENER: 1},
}  # fmt: skip
LOOKS: dict[str, Look] = {
    "Ada": Look((236, 200, 172), (92, 58, 34), long_hair=True),
    "Bruno": Look((224, 178, 142), (40, 32, 28), width=1.08, brow=1.3, nose=1.15),
    "Clara": Look((245, 214, 190), (196, 150, 84), width=0.94, eyes=1.05, long_hair=True),
    "David": Look((146, 98, 66), (24, 20, 20), brow=1.15, mouth=1.1),
    "Elsa": Look((248, 220, 200), (222, 190, 130), height=0.96, mouth=0.92, long_hair=True),
    "Felix": Look((230, 188, 156), (150, 76, 40), width=0.95, height=1.04, nose=1.1),
    "Greta": Look((212, 164, 126), (60, 40, 30), width=1.04, eyes=0.95, long_hair=True),
    "Hugo": Look((238, 196, 164), (120, 118, 116), width=1.1, brow=1.35, mouth=1.08),
    "Irma": Look((170, 118, 82), (34, 26, 24), height=0.98, eyes=1.06, long_hair=True),
    "Jonas": Look((226, 184, 150), (84, 60, 40), height=1.05, brow=1.1, eyes=0.96),
    "Karin": Look((240, 204, 178), (140, 48, 30), width=0.96, mouth=0.95, nose=0.9, long_hair=True),
    "Leo": Look((188, 138, 100), (30, 24, 22), width=1.03, brow=1.2, nose=1.05),
}
STRENGTH = (0.8, 1.0)  # of a whole expression at its height; least and most
UNIT_STRENGTH = (0.85, 1.1)  # factor of each unit in it
UNIT_JITTER = 0.05  # standard deviation of each unit, in the expression or not
ONSET = (0.1, 0.3)  # when the face begins to leave neutral, as a part of its clip
RISE_SECONDS = 0.3


def tables() -> tuple[object, ...]:
    """All of it, as a part of the corpus's identity."""
    return EXPRESSIONS, LOOKS, STRENGTH, UNIT_STRENGTH, UNIT_JITTER, ONSET, RISE_SECONDS
