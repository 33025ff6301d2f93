"""Syllables in time: where a word or a pause ends, so does the syllable."""

from __future__ import annotations

from trainables.alignment.base import Segment
from trainables.alignment.spelling import shared_out, words_of
from trainables.alignment.syllables import PAUSE_SECONDS, syllables


def phones(text: str, length: float = 0.1) -> list[Segment]:
    """One after another, of equal length."""
    labels = text.split()
    return [Segment(label, i * length, (i + 1) * length) for i, label in enumerate(labels)]


def labels(found: tuple[Segment, ...]) -> list[str]:
    return [segment.label for segment in found]


def test_a_syllable_lasts_from_its_first_phone_to_its_last() -> None:
    found = syllables(phones("M AH1 S T ER0"))
    assert labels(found) == ["M AH1", "S T ER0"]
    assert [(round(s.start, 6), round(s.end, 6)) for s in found] == [(0.0, 0.2), (0.2, 0.5)]


def test_no_syllable_reaches_into_the_next_word() -> None:
    """ "an aim" and "a name" have the same phones."""
    sounds = phones("AH0 N EY1 M")
    assert labels(syllables(sounds)) == ["AH0", "N EY1 M"]
    an_aim = [Segment("an", 0.0, 0.2), Segment("aim", 0.2, 0.4)]
    assert labels(syllables(sounds, an_aim)) == ["AH0 N", "EY1 M"]


def test_a_word_without_a_vowel_is_a_syllable() -> None:
    words = [Segment("hm", 0.0, 0.2), Segment("oh", 0.2, 0.3)]
    assert labels(syllables(phones("HH M OW1"), words)) == ["HH M", "OW1"]


def test_phones_of_no_word_stay_between_their_neighbours() -> None:
    words = [Segment("a", 0.0, 0.1), Segment("a", 0.3, 0.4)]
    assert labels(syllables(phones("AH0 T S AH0"), words)) == ["AH0", "T S", "AH0"]


def test_without_words_a_pause_ends_a_syllable() -> None:
    for gap, expected in ((PAUSE_SECONDS * 2, ["AH0 N", "EY1"]), (PAUSE_SECONDS / 2, ["AH0", "N EY1"])):
        sounds = [*phones("AH0 N"), Segment("EY1", 0.2 + gap, 0.5)]
        assert labels(syllables(sounds)) == expected


def test_consonants_without_a_vowel_go_with_their_neighbour() -> None:
    assert labels(syllables(phones("S T AH1 N T S"))) == ["S T AH1 N T S"]


def test_the_phone_set_is_told_by_the_whole_utterance() -> None:
    """In ARPAbet `Y` is a consonant and `N` may begin a syllable; in SAMPA they are a vowel and an NG."""
    assert labels(syllables(phones("HH AE1 P IY0 N Y UW1"))) == ["HH AE1", "P IY0", "N Y UW1"]
    assert labels(syllables(phones("S t Y k l a N @"))) == ["S t Y", "k l a N", "@"]


def test_nothing_has_no_syllables() -> None:
    assert syllables([]) == ()
    assert syllables([], [Segment("oh", 0.0, 1.0)]) == ()


def test_words_are_those_of_the_text_without_tags_and_signs() -> None:
    assert words_of("Well... I’m [LAUGHTER] 'fine', <unk> thank-you! –") == ["Well", "I'm", "fine", "thank", "you"]
    assert words_of("… -- [BREATHING]") == []


def test_a_words_time_is_shared_by_its_letters() -> None:
    found = shared_out([Segment("table", 1.0, 2.0), Segment("I'm", 2.0, 2.5)], "ctc", "en")
    assert found.source == "ctc"
    assert labels(found.words) == ["table", "I'm"]
    assert [(s.label, round(s.start, 6), round(s.end, 6)) for s in found.phones] == [
        ("t", 1.0, 1.2),
        ("a", 1.2, 1.4),
        ("b", 1.4, 1.6),
        ("l", 1.6, 1.8),
        ("e", 1.8, 2.0),
        ("i", 2.0, 2.25),
        ("m", 2.25, 2.5),
    ]
    assert [(s.label, round(s.start, 6), round(s.end, 6)) for s in found.syllables] == [
        ("ta", 1.0, 1.4),
        ("ble", 1.4, 2.0),
        ("im", 2.0, 2.5),
    ]
