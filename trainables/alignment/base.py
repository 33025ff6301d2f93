"""The values that every source of alignments hands on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from trainables.corpus import AlignmentSource

SILENCES = frozenset(("", "#", "<eps>", "<s>", "</s>", "<sil>", "pau", "sil", "sp", "spn"))
"""What aligners write, in whatever case, where nobody speaks a phone."""


def is_silence(label: str) -> bool:
    return label.strip().casefold() in SILENCES


class Segment(NamedTuple):
    """A word, a syllable or a phone and when it sounds, in seconds from the clip's start."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Alignment:
    """The words, phones and syllables of one utterance, in order, without silences."""

    words: tuple[Segment, ...] = ()
    phones: tuple[Segment, ...] = ()
    syllables: tuple[Segment, ...] = ()
    """Empty: worked out from the phones by maximal onset."""
    source: AlignmentSource = "corpus"
