"""Words lost and mistaken: the share, the likeness, and what stays."""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import pytest

from trainables.corruption.words import Confusions, counted, dropped, edit_distances, substituted
from trainables.determinism import derive

TEXT = " ".join(f"word{i}" for i in range(2000))


@cache
def by_recursion(a: str, b: str) -> int:
    """The textbook's definition of the edit distance."""
    if not a or not b:
        return len(a) + len(b)
    return min(by_recursion(a[1:], b) + 1, by_recursion(a, b[1:]) + 1, by_recursion(a[1:], b[1:]) + (a[0] != b[0]))


def padded(
    words: list[str],
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int32]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    letters = np.zeros((len(words), max(len(w) for w in words)), dtype=np.int32)
    for row, word in enumerate(words):
        letters[row, : len(word)] = [ord(c) for c in word]
    return letters, np.asarray([len(w) for w in words])


def test_edit_distances_known_from_the_textbook() -> None:
    letters, lengths = padded(["sitting", "kitten", "kit", "mitten", "sunday"])
    assert edit_distances("kitten", letters, lengths).tolist() == [3, 0, 3, 1, 6]
    letters, lengths = padded(["sunday", "satur"])
    assert edit_distances("saturday", letters, lengths).tolist() == [3, 3]


def test_edit_distances_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abc"), size=int(rng.integers(1, 7)))) for _ in range(60)]
    letters, lengths = padded(words)
    for word in words[:10]:
        assert edit_distances(word, letters, lengths).tolist() == [by_recursion(word, other) for other in words]


def test_a_word_is_taken_for_the_nearest_other_one() -> None:
    confusions = Confusions(Counter({"there": 5, "where": 3, "here": 9, "them": 40, "happiness": 1}))
    assert confusions.of("there") == "here"  # one letter off, as where is, and more frequent
    assert confusions.of("happyness") == "happiness"  # not of the vocabulary
    assert confusions.of("happiness") == "here"  # far from all
    assert Confusions(Counter({"cat": 1, "bat": 1})).of("hat") == "bat"  # equally frequent: by alphabet
    assert Confusions(Counter({"cat": 1})).of("cat") == "cat"
    assert Confusions(Counter()).of("cat") == "cat"


def test_the_nearest_is_found_as_by_looking_at_every_word() -> None:
    rng = np.random.default_rng(1)
    words = {"".join(rng.choice(list("abcd"), size=int(rng.integers(1, 12)))) for _ in range(150)}
    vocabulary = Counter({word: int(rng.integers(1, 4)) for word in sorted(words)})
    confusions = Confusions(vocabulary)
    for word in [*sorted(words)[:20], "abcabcabcabcabcabcabc"]:
        others = [other for other in vocabulary if other != word]
        best = min(others, key=lambda other: (by_recursion(word, other), -vocabulary[other], other))
        assert confusions.of(word) == best


def test_words_are_counted_without_case_and_punctuation() -> None:
    assert counted(["Well, WELL! I don’t—know.", '"well..." - 27?']) == {"well": 3, "i": 1, "27": 1}


def test_case_and_punctuation_follow_the_original() -> None:
    confusions = Confusions(counted(["there where hat cat laid i a"]))
    assert substituted('"There!" said CAT, (hat) - A', 1.0, 0, confusions) == '"Where!" laid HAT, (cat) - I'


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_lost_is_the_one_asked_for(share: float) -> None:
    # Of 2000 words, within four standard deviations of the binomial.
    bound = 4 * np.sqrt(2000 * share * (1 - share))
    lost = 2000 - len(dropped(TEXT, share, seed=4).split())
    assert abs(lost - 2000 * share) < bound
    taken = substituted(TEXT, share, 4, Confusions(counted([TEXT])))
    changed = sum(a != b for a, b in zip(TEXT.split(), taken.split(), strict=True))
    assert abs(changed - 2000 * share) < bound


def test_all_words_may_be_lost_and_punctuation_alone_is_no_word() -> None:
    assert dropped("Oh, no!", 1.0, 0) == ""
    assert dropped("Oh - no … 27", 1.0, 0) == "- …"
    assert dropped("", 0.5, 0) == ""


def test_what_is_not_hit_stays_as_it_was() -> None:
    text = "two  spaces\tand a tab"
    assert dropped(text, 1e-9, 0) == text
    assert substituted(text, 1e-9, 0, Confusions(counted([text]))) == text


def test_more_is_lost_at_a_higher_share_of_the_same_seed() -> None:
    few, many = set(dropped(TEXT, 0.3, 9).split()), set(dropped(TEXT, 0.1, 9).split())
    assert few < many


def test_the_same_seed_loses_the_same_words() -> None:
    seed, other = derive(0, "words_dropped", "u1"), derive(0, "words_dropped", "u2")
    assert dropped(TEXT, 0.3, seed) == dropped(TEXT, 0.3, seed) != dropped(TEXT, 0.3, other)
