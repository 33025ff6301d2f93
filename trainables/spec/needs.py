"""What a student and a method read beside the student's own features; each spec states its own."""

from __future__ import annotations

from typing import Literal

from trainables.spec.base import Spec

Granularity = Literal["phone", "syllable", "word"]
GRANULARITIES: tuple[Granularity, ...] = ("phone", "syllable", "word")


class Needs(Spec):
    """What of the transfer set is read; all False and empty: nothing of a teacher, a rater or an alignment."""

    logits: bool = False
    """Of the best teacher."""
    pooled: bool = False
    """Of the teacher of each modality that the student reads."""
    best_pooled: bool = False
    """Of the best teacher."""
    attention: bool = False
    """Of the teacher of each modality that the student reads."""
    frames: bool = False
    """The sequences of the teacher of each modality that the student reads."""
    segments: tuple[Granularity, ...] = ()
    votes: bool = False
    """What each rater said."""
    one_label: bool = False
    """Labels of which an utterance has just one."""
    both: bool = False
    """A student of audio and text: with one of them, what needs this falls away."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of what is needed, in a fixed order."""
        return tuple(name for name in type(self).model_fields if getattr(self, name))

    @property
    def of_teachers(self) -> bool:
        return self.logits or self.pooled or self.best_pooled or self.attention or self.frames

    def __or__(self, other: Needs) -> Needs:
        flags = [name for name in type(self).model_fields if name != "segments"]
        both = {name: getattr(self, name) or getattr(other, name) for name in flags}
        segments = tuple(g for g in GRANULARITIES if g in self.segments or g in other.segments)
        return Needs(segments=segments, **both)


def together(*needs: Needs) -> Needs:
    """What all of them read."""
    found = Needs()
    for one in needs:
        found = found | one
    return found
