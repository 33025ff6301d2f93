"""Maximal onset on EmoDB's hand-made phones against its hand-made syllables.

People do not part words as the rule does, nor do they put a boundary within a frame: of reduced words ("haben" as
"habm") they wrote two syllables over whatever was said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from trainables.alignment.base import Alignment, Segment
from trainables.alignment.syllables import syllables
from trainables.importers.emodb_labels import align, read_entries

EMODB = Path(__file__).parents[2].parent / "shared" / "data" / "emodb"
TOLERANCE = 0.02
"""Seconds: a frame of the encoders."""

pytestmark = pytest.mark.skipif(not (EMODB / "lablaut").is_dir(), reason="EmoDB's hand labels are not here")


def aligned() -> Iterator[Alignment]:
    """The utterances with words, phones and syllables."""
    for path in sorted((EMODB / "silb").iterdir()):
        name = path.stem[:7]
        lablaut = EMODB / "lablaut" / f"{name}xx.lablaut"
        if not lablaut.exists():
            continue
        found = align(name[2:5], read_entries(lablaut), read_entries(path))
        if found is not None and found.words and found.phones:
            yield found


def near(times: Sequence[float], others: Sequence[float]) -> int:
    """How many of the times have one of the others within the tolerance."""
    return sum(any(abs(time - other) <= TOLERANCE for other in others) for time in times)


def agreement(*, words: bool) -> tuple[float, float, int]:
    """(share of the hand's boundaries found, share of ours that the hand has, hand's boundaries)."""
    found = right = hand = ours = 0
    for utterance in aligned():
        theirs = [s.start for s in utterance.syllables]
        mine = [s.start for s in syllables(utterance.phones, utterance.words if words else ())]
        found, right = found + near(theirs, mine), right + near(mine, theirs)
        hand, ours = hand + len(theirs), ours + len(mine)
    return found / hand, right / ours, hand


def within(segments: Sequence[Segment], word: Segment) -> list[Segment]:
    return [s for s in segments if word.start <= (s.start + s.end) / 2 < word.end]


def test_most_boundaries_are_the_hands() -> None:
    recall, precision, hand = agreement(words=True)
    print(f"{recall:.3f} of {hand} boundaries found, {precision:.3f} of ours right")
    assert hand > 7000
    assert recall > 0.82
    assert precision > 0.88


def test_most_words_have_as_many_syllables_and_there_they_are_the_hands() -> None:
    equal = total = same = inner = 0
    for utterance in aligned():
        derived = syllables(utterance.phones, utterance.words)
        for word in utterance.words:
            theirs, mine = within(utterance.syllables, word), within(derived, word)
            total += 1
            if len(theirs) == len(mine):
                equal += 1
                inner += len(theirs) - 1
                same += sum(abs(a.start - b.start) <= TOLERANCE for a, b in zip(theirs[1:], mine[1:], strict=True))
    print(f"{equal} of {total} words with as many syllables; {same} of {inner} boundaries within them agree")
    assert equal / total > 0.87
    assert inner > 1500
    assert same / inner > 0.8


def test_words_help() -> None:
    """Without them consonants wander into the next word."""
    assert agreement(words=True)[0] > agreement(words=False)[0] + 0.1


def test_every_syllable_is_of_one_word_and_of_phones_in_order() -> None:
    for utterance in aligned():
        found = syllables(utterance.phones, utterance.words)
        assert " ".join(s.label for s in found).split() == [p.label for p in utterance.phones]
        assert all(before.start < after.start for before, after in pairwise(found))
