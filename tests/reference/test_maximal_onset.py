"""Maximal onset against the syllables of words by hand, most of them as dictionaries have them."""

from __future__ import annotations

import pytest

from trainables.alignment.syllables import maximal_onset, spelled

ENGLISH = """
M AH1|S T ER0
EH1 K|S T R AH0
B AY1|ER0
K AE1 N|Y AH0 N
M Y UW1|Z IH0 K
K AH0 N|T IH1|N Y UW0
HH AE1|P IY0
S IH1 NG|ER0
AE1 T|L AH0 S
AE1 B|S T R AE2 K T
S T R EH1 NG K TH S
IH0 N|S T AH0|T UW1|SH AH0 N
EH1 N|T R AH0 N S
AA1 B|V IY0|AH0 S
P R AA1|B L AH0 M
AH0 D|M AY1 R
K W EH1 S|CH AH0 N
HH AA1 R T|B R OW2|K AH0 N
HH M
"""
"""One word a line."""

OTHER = """
m V|n i:
I g|n O@
f j U@|r i@ s
E v|r I|w V n
aU|t r eI dZ d
l V n tS
m O@|n I N
l a|p @ n
S v a6|ts @
b @|f I n|d @ t
aI s|S r a N k
v ɪ n|t ə
tʃ ɪ l|d ɹ ə n
h a:|b m
a: g|n @ s
h a n|d l
v i: 6
f OY|6
g E 6 n
g E 6 n
h ø: ɐ̯ t
r I|D @ m
b ɐ|t n̩
"""
"""eSpeak NG's names, SAMPA and IPA, with syllabic consonants marked and not."""


def parted(line: str) -> list[list[str]]:
    return [part.split() for part in line.split("|")]


def lines(table: str) -> list[str]:
    return table.strip().splitlines()


@pytest.mark.parametrize("line", lines(ENGLISH) + lines(OTHER))
def test_a_word_is_parted_before_the_longest_onset(line: str) -> None:
    syllables = parted(line)
    labels = [label for syllable in syllables for label in syllable]
    assert [list(labels[first:last]) for first, last in maximal_onset(labels)] == syllables


@pytest.mark.parametrize("line", lines(ENGLISH))
def test_stress_and_case_say_nothing_about_syllables(line: str) -> None:
    labels = line.replace("|", " ").split()
    bare = [label.rstrip("012") for label in labels]
    assert maximal_onset(bare) == maximal_onset(labels)
    assert maximal_onset([label.lower() for label in bare]) == maximal_onset(labels)


def test_no_phones_are_no_syllables() -> None:
    assert maximal_onset([]) == []


@pytest.mark.parametrize(
    ("word", "language", "parts"),
    [
        ("table", "en", "ta ble"),
        ("home", "en", "home"),
        ("looked", "en", "looked"),
        ("wanted", "en", "wan ted"),
        ("makes", "en", "makes"),
        ("places", "en", "pla ces"),
        ("beyond", "en", "be yond"),
        ("question", "en", "que stion"),
        ("everyone", "en", "e ver yone"),
        ("the", "en", "the"),
        ("Yes", "en", "yes"),
        ("I'm", "en", "im"),
        ("hmm", "en", "hmm"),
        ("42nd", "en", "42nd"),
        ("bitte", "de", "bit te"),
        ("Eisschrank", "de", "eis schrank"),
        ("Wochenenden", "de", "wo che nen den"),
        ("Tüte", "de-DE", "tü te"),
    ],
)
def test_spelling_is_parted_by_its_vowels(word: str, language: str, parts: str) -> None:
    assert spelled(word, language) == parts.split()


def test_signs_alone_have_no_part() -> None:
    assert spelled("…") == []
