"""Syllables from phones, by maximal onset; from spelling where phones are not known.

Every vowel is the nucleus of a syllable. Of the consonants between two of them as many go to the second as can
begin a syllable (Kahn, MIT thesis 1976); those before the first and behind the last go with them. A syllable never
reaches over a word's end, nor, where words are not known, over a pause. Phones without a vowel are a syllable of
their own only where they have no neighbour: alone in a word ("hm") or between two pauses.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from trainables.alignment.base import Segment
from trainables.alignment.phones import arpabet_nuclei, arpabet_onset, is_arpabet, nuclei, onset

PAUSE_SECONDS = 0.05
"""Between phones of no known word: no syllable goes on behind it."""
_DIGRAPHS = "ch gh ph qu rh sh th wh"
_CLUSTERS = (
    "bl br chr cl cr dr dw fl fr gl gr kl kn kr pf pfl phr pl pr sch schl schm schr schw scr shr sk sl sm sn sp "
    "spl spr squ st str sw thr tr tw tz wr"
)
_SPELLED_ONSETS = frozenset(f"{_DIGRAPHS} {_CLUSTERS}".split())
_SILENT = {"en": re.compile(r"(?<![aeiouy])(?<![^aeiouy]l)e$|(?<=[^aeiouytd])e(?=d$)|(?<=[^aeiouysxzcgh])e(?=s$)")}


def maximal_onset(labels: Sequence[str]) -> list[tuple[int, int]]:
    """The syllables of one word's phones as (first, behind the last); one for all where there is no vowel."""
    arpabet = is_arpabet(labels)
    return _split(labels, arpabet)


def syllables(phones: Sequence[Segment], words: Sequence[Segment] = ()) -> tuple[Segment, ...]:
    """The syllables of an utterance, labelled by their phones; `words` in order, empty where not known."""
    arpabet = is_arpabet([phone.label for phone in phones])
    found = []
    for group in _by_word(phones, words) if words else _by_pause(phones):
        for first, last in _split([phone.label for phone in group], arpabet):
            label = " ".join(phone.label for phone in group[first:last])
            found.append(Segment(label, group[first].start, group[last - 1].end))
    return tuple(found)


def spelled(word: str, language: str = "en") -> list[str]:
    """The letters of a word in as many parts as it has groups of vowels: "table" is "ta", "ble".

    Of English, a silent `e` at the end is none. A word without a vowel (or with a digit) is one part; one without
    letters and digits has none.
    """
    letters = "".join(char for char in word.casefold() if char.isalnum())
    if not letters:
        return []
    plain = "".join(_base(char) for char in letters)
    silent = (
        {match.start() for match in _SILENT[language[:2]].finditer(plain)} if language[:2] in _SILENT else set()
    )
    vowels = [_is_vowel(plain, i) and i not in silent for i in range(len(plain))]
    if not any(vowels):  # "the": the silent one is heard where there is no other
        vowels = [_is_vowel(plain, i) for i in range(len(plain))]
    nuclei = [i for i in range(len(plain)) if vowels[i] and not (i and vowels[i - 1])]
    if len(nuclei) < 2 or not letters.isalpha():
        return [letters]
    cuts = [0, *(_cut(plain, vowels, *pair) for pair in pairwise(nuclei)), len(letters)]
    return [letters[start:end] for start, end in pairwise(cuts)]


def _split(labels: Sequence[str], arpabet: bool) -> list[tuple[int, int]]:
    find, is_onset = (arpabet_nuclei, arpabet_onset) if arpabet else (nuclei, onset)
    cuts = [0]
    for before, after in pairwise(find(labels)):
        cuts.append(next(i for i in range(before + 1, after + 1) if is_onset(labels[i:after], labels[after])))
    cuts.append(len(labels))
    return list(pairwise(cuts)) if labels else []


def _by_word(phones: Sequence[Segment], words: Sequence[Segment]) -> Iterator[list[Segment]]:
    """A phone is of the word in which its middle lies; those of no word stay together between two words."""
    starts = [word.start for word in words]

    def place(phone: Segment) -> tuple[int, bool]:
        middle = (phone.start + phone.end) / 2
        index = bisect_right(starts, middle) - 1
        return index, index >= 0 and middle < words[index].end

    for _, group in groupby(phones, place):
        yield list(group)


def _by_pause(phones: Sequence[Segment]) -> Iterator[list[Segment]]:
    group: list[Segment] = []
    for phone in phones:
        if group and phone.start - group[-1].end >= PAUSE_SECONDS:
            yield group
            group = []
        group.append(phone)
    if group:
        yield group


def _cut(plain: str, vowels: Sequence[bool], before: int, after: int) -> int:
    """Where the second of two syllables begins, by the letters between their vowels."""
    first = next(i for i in range(before, after) if not vowels[i])
    for i in range(first, after):
        if i == after - 1 or plain[i:after] in _SPELLED_ONSETS:
            return i
    return after


def _is_vowel(plain: str, index: int) -> bool:
    """`y` before a vowel is none ("beyond"), nor is `u` behind `q`."""
    letter, follows = plain[index], plain[index + 1 : index + 2]
    if letter == "y":
        return not follows or follows not in "aeiou"
    if letter == "u" and index and plain[index - 1] == "q":
        return False
    return letter in "aeiouœæøı"


def _base(char: str) -> str:
    """The letter without its accent, one for one."""
    return unicodedata.normalize("NFD", char)[0]
