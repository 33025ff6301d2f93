"""EmoDB's hand-made labels: what a line begins, what it goes on with, and which words the syllables are of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helpers.emodb_trees import A01, HEADER, Line, write_phones, write_syllables
from trainables.errors import CorpusError
from trainables.importers.emodb_labels import SENTENCES, Entry, align, read_entries

NOTHING: list[Entry] = []


def entries(lines: Sequence[Line]) -> list[Entry]:
    return [Entry(*line) for line in lines]


def phones(lines: Sequence[Line]) -> list[tuple[str, float, float]]:
    found = align("a01", entries(lines), NOTHING)
    return [tuple(phone) for phone in found.phones] if found else []  # type: ignore[misc]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([(0.1, "I"), (0.2, "m"), (0.4, ".")], [("I", 0.1, 0.2), ("m", 0.2, 0.4)]),
        ([(0.1, "a\t+lar\t2"), (0.2, "\t-lar"), (0.3, ".")], [("a", 0.1, 0.3)]),
        ([(0.1, "s"), (0.2, "+sth"), (0.3, "-sth,-tie"), (0.4, "z  +sth"), (0.5, ".")],
         [("s", 0.1, 0.4), ("z", 0.4, 0.5)]),
        ([(0.1, "t"), (0.2, "!t\t+asp"), (0.3, "tasp"), (0.4, "a"), (0.5, ".")],
         [("t", 0.1, 0.4), ("a", 0.4, 0.5)]),
        ([(0.1, "_d\t-sth"), (0.2, "!d"), (0.3, "E6"), (0.4, ".")], [("d", 0.1, 0.3), ("E6", 0.3, 0.4)]),
        ([(0.1, "N"), (0.2, "!k"), (0.3, ".")], [("N", 0.1, 0.2), ("k", 0.2, 0.3)]),
        ([(0.1, "t"), (0.2, "!"), (0.3, "tasp+sth"), (0.4, ".")], [("t", 0.1, 0.4)]),
        ([(0.1, "d"), (0.2, "!d"), (0.3, "dsap"), (0.4, ".")], [("d", 0.1, 0.4)]),
        ([(0.1, "I+nas"), (0.2, "hoe"), (0.3, "[+eng"), (0.4, ".")], [("I", 0.1, 0.4)]),
        ([(0.1, "a"), (0.2, "("), (0.5, "m"), (0.6, "(gef"), (0.7, "n"), (0.9, ".\t-eng")],
         [("a", 0.1, 0.2), ("m", 0.5, 0.6), ("n", 0.7, 0.9)]),
        ([(0.1, "a"), (0.2, "m")], [("a", 0.1, 0.2)]),
        ([(0.1, "\t-sth"), (0.2, "a"), (0.2, "m"), (0.3, ".")], [("m", 0.2, 0.3)]),
    ],
    ids=["each begins where it stands", "marks go on", "bare marks go on", "a plosive is one phone",
         "after silence", "a burst without a closure", "a bare burst", "a misspelt aspiration", "odd marks",
         "pauses are no phones", "no end, no phone", "no length, no phone"],
)  # fmt: skip
def test_phones(lines: list[Line], expected: list[tuple[str, float, float]]) -> None:
    assert phones(lines) == expected


def test_syllables_make_the_sentences_words() -> None:
    found = align("a01", NOTHING, entries(A01))
    assert found is not None
    assert [word.label for word in found.words] == ["Der", "Lappen", "liegt", "auf", "dem", "Eisschrank"]
    assert (found.words[1].start, found.words[1].end) == (0.2, 0.4)
    assert (found.words[5].start, found.words[5].end) == (0.7, 0.9)
    assert len(found.syllables) == 8
    assert (found.phones, found.source) == ((), "corpus")


def test_a_pause_is_in_no_word_but_between_two() -> None:
    lines = [*A01[:3], (0.35, "("), *A01[3:]]
    found = align("a01", NOTHING, entries(lines))
    assert found is not None
    assert (found.words[1].end, found.words[2].start) == (0.35, 0.4)


def test_reduced_and_doubled_labels_count_as_the_syllables_that_they_stand_for() -> None:
    lines = [(0.1, "das"), (0.2, "will"), (0.3, "sie"), (0.4, "am"), (0.5, "mitt"), (0.6, "woch"), (0.7, "ab"),
             (0.8, "geben"), (0.8, "bn"), (1.0, ".")]  # fmt: skip
    found = align("a02", NOTHING, entries(lines))
    assert found is not None
    assert [syllable.label for syllable in found.syllables][-2:] == ["ab", "bn"]
    assert tuple(found.words[-1]) == ("abgeben", 0.7, 1.0)


@pytest.mark.parametrize("lines", [A01[1:], [(0.05, "ja"), *A01]], ids=["one too few", "one too many"])
def test_no_words_are_made_up_where_the_syllables_are_not_the_sentences(lines: list[Line]) -> None:
    found = align("a01", NOTHING, entries(lines))
    assert found is not None
    assert found.words == ()
    assert len(found.syllables) == len(lines) - 1


def test_labels_that_say_nothing_are_no_alignment() -> None:
    assert align("a01", NOTHING, NOTHING) is None


def test_the_sentences_are_plain_text() -> None:
    assert len(SENTENCES) == 10
    assert SENTENCES["b01"] == "Was sind denn das für Tüten, die da unter dem Tisch stehen?"
    assert not [text for text in SENTENCES.values() if "-" in text]


def test_both_kinds_of_file_are_read(tmp_path: Path) -> None:
    lines = [(0.1, "für"), (0.25, ".")]
    assert read_entries(write_syllables(tmp_path, "03b01Na", lines)) == lines
    assert read_entries(write_phones(tmp_path, "03b01Na", [(0.1, "\t-sth"), (0.2, "4")])) == [
        (0.1, "\t-sth"),
        (0.2, "4"),
    ]


@pytest.mark.parametrize("header", ["", HEADER, HEADER.removesuffix("#\n")], ids=["none", "whole", "cut short"])
def test_a_file_without_labels_is_empty(header: str, tmp_path: Path) -> None:
    assert read_entries(write_phones(tmp_path, "08a01Ab", [], header)) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0.1\tder\nnonsense\n", "x.silb: line 2: 'nonsense' is not a time and a label"),
        ("0.1\tder\n0.3\tla\n0.2\tpen\n", "x.silb: line 3: 0.2 s is before the line above"),
    ],
)
def test_a_line_that_is_none_is_named(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.silb"
    path.write_text(text)
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}$"):
        read_entries(path)
