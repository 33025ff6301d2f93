"""Who speaks in the stand-in, and how each emotion sounds: the whole of its prosody, as two tables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Voice:
    """`variant` is eSpeak NG's; `pitch` (0-99 scale) and `rate` (factor) are this speaker's own offsets."""

    speaker: str
    variant: str
    pitch: int = 0
    rate: float = 1.0


@dataclass(frozen=True)
class Manner:
    """How an emotion is spoken.

    `pitch` and `span` are eSpeak NG's pitch and pitch range (0-99), `rate` a factor on 175 words a minute,
    `level` the loudness in dB re 1 (root mean square of full scale), `tilt` the coefficient of a first-order
    filter (above 0 bright and tense, below 0 soft), `tremor` the depth (0-1) and `tremor_hertz` the speed of an
    amplitude modulation (shaking voice near 7 Hz, creak near 30 Hz), `contour` the clause type's punctuation
    that the synthesiser hears; the transcript always ends in a full stop.
    """

    pitch: int
    span: int
    rate: float
    level: float
    tilt: float = 0.0
    tremor: float = 0.0
    tremor_hertz: float = 7.0
    contour: str = "."


VOICES = (
    Voice("Ada", "f2"),
    Voice("Bruno", "m3"),
    Voice("Clara", "f4", pitch=4, rate=1.03),
    Voice("David", "m7", pitch=-3, rate=0.97),
    Voice("Elsa", "Annie", pitch=-3),
    Voice("Felix", "Alex", rate=1.04),
    Voice("Greta", "linda", pitch=2, rate=0.96),
    Voice("Hugo", "boris", pitch=3),
    Voice("Irma", "steph", pitch=-2, rate=1.02),
    Voice("Jonas", "Michael", pitch=2, rate=0.98),
    Voice("Karin", "f5", pitch=-4),
    Voice("Leo", "Andy", pitch=3, rate=1.02),
)
MANNERS: dict[str, Manner] = {
    "neutral": Manner(pitch=40, span=35, rate=1.0, level=-24.0),
    "surprise": Manner(pitch=75, span=95, rate=0.92, level=-20.0, contour="?"),
    "fear": Manner(pitch=85, span=25, rate=1.35, level=-26.0, tremor=0.7, tremor_hertz=7.0),
    "sadness": Manner(pitch=30, span=15, rate=0.8, level=-30.0, tilt=-0.8),
    "joy": Manner(pitch=75, span=80, rate=1.15, level=-20.0, tilt=0.3, contour="!"),
    "disgust": Manner(pitch=15, span=60, rate=0.88, level=-25.0, tremor=0.7, tremor_hertz=30.0),
    "anger": Manner(pitch=50, span=70, rate=1.15, level=-16.0, tilt=0.85, contour="!"),
}
PITCH_JITTER = 4.0  # standard deviation, on the 0-99 scale
RATE_JITTER = 0.03  # standard deviation of the factor
LEVEL_JITTER = 1.0  # standard deviation, dB
