"""What every confirmed model is tried on beside the clean test split, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Modality, Spec

Damage = Literal["white", "babble", "words_dropped", "words_substituted", "frames_dropped"]
DAMAGES: dict[Damage, Modality] = {
    "white": "audio",
    "babble": "audio",
    "words_dropped": "text",
    "words_substituted": "text",
    "frames_dropped": "visual",
}
"""What each does harm to."""
Share = Annotated[float, Field(gt=0, le=1)]


class Condition(Spec):
    """One way in which an input is damaged: its own test split beside the clean one."""

    damage: Damage
    level: float
    """dB of speech over noise; of words and frames the share that is lost."""

    @property
    def modality(self) -> Modality:
        return DAMAGES[self.damage]

    @property
    def name(self) -> str:
        """As `white-20dB` or `words-dropped-30%`; it is the name of its split."""
        what = self.damage.replace("_", "-")
        return f"{what}-{self.level:g}dB" if self.modality == "audio" else f"{what}-{100 * self.level:g}%"


class RobustnessSpec(Spec):
    """Each modality missing is always tried, with every subset of what a student reads; these besides."""

    enabled: bool = True
    noises: tuple[Literal["white", "babble"], ...] = ("white", "babble")
    """`babble`: voices of the train split, none of them the speaker's own where there are others."""
    snr: tuple[float, ...] = (20.0, 10.0, 0.0)
    """dB of the power of the utterance without its pauses over the noise's."""
    voices: Count = 6
    """Of the babble."""
    words_dropped: tuple[Share, ...] = (0.1, 0.3)
    words_substituted: tuple[Share, ...] = (0.1, 0.3)
    """By words of the train split that are spelled alike."""
    frames_dropped: tuple[Share, ...] = (0.3, 0.7)
    """Pictures lost one by one, the last one there standing in for each."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _apart(self) -> RobustnessSpec:
        """A condition's name is that of its split, to six digits of its level."""
        twice = [name for name, count in Counter(c.name for c in self._every()).items() if count > 1]
        if twice:
            raise ValueError(f"condition {twice[0]} is there twice; name each noise and each level once")
        return self

    def conditions(self, modalities: Sequence[Modality], *, vectors: bool = False) -> tuple[Condition, ...]:
        """Those that do harm to one of these modalities; of mere vectors only losses in time make sense."""
        found = tuple(c for c in self._every() if c.modality in modalities)
        return tuple(c for c in found if c.damage == "frames_dropped") if vectors else found

    def _every(self) -> Iterator[Condition]:
        for noise in self.noises:
            yield from (Condition(damage=noise, level=level) for level in self.snr)
        yield from (Condition(damage="words_dropped", level=share) for share in self.words_dropped)
        yield from (Condition(damage="words_substituted", level=share) for share in self.words_substituted)
        yield from (Condition(damage="frames_dropped", level=share) for share in self.frames_dropped)
