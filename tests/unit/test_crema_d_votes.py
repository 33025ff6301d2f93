"""CREMA-D's tables: whose votes, their shares, ties, and what is wrong with a table."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.crema_d_trees import (
    name,
    write_actors,
    write_stub,
    write_summary,
    write_tabulated,
)
from trainables.errors import CorpusError
from trainables.importers.crema_d_layout import EMOTIONS
from trainables.importers.crema_d_votes import (
    LETTERS,
    NO_VOTES,
    Presentation,
    full_name,
    majority,
    presentation,
    read_actors,
    read_counts,
    read_majorities,
    shares,
)

CLIP, OTHER = name(1001), name(1002)
VOTES = {
    CLIP: ((5, 5, 0, 0, 1, 1), (8, 1, 0, 0, 1, 0), (6, 0, 0, 0, 2, 0)),
    OTHER: ((0, 0, 0, 0, 9, 0), (0, 0, 4, 4, 1, 0), (0, 0, 0, 0, 0, 0)),
}


def test_the_letters_are_those_of_the_labels_in_their_order() -> None:
    assert [*LETTERS] == [code[0] for code in EMOTIONS]


@pytest.mark.parametrize(
    ("modalities", "given"),
    [
        (("audio",), "voice"),
        (("audio", "text"), "voice"),
        (("text",), "voice"),
        (("visual",), "face"),
        (("text", "visual"), "face"),
        (("audio", "visual"), "both"),
        (("visual", "text", "audio"), "both"),
    ],
)
def test_votes_are_of_those_who_were_given_what_is_read(modalities: tuple[str, ...], given: Presentation) -> None:
    assert presentation(modalities) == given


@pytest.mark.parametrize(("given", "place"), [("voice", 0), ("face", 1), ("both", 2)])
@pytest.mark.parametrize(("newline", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig")])
def test_the_rows_of_a_presentation_are_told_by_their_first_column(
    given: Presentation, place: int, newline: str, encoding: str, tmp_path: Path
) -> None:
    path = write_tabulated(tmp_path, VOTES, newline, encoding)
    assert read_counts(path, given) == {clip: counts[place] for clip, counts in VOTES.items()}


@pytest.mark.parametrize(
    ("counts", "letters", "parts"),
    [
        # The voice of 1001_IEO_ANG_MD, 1001_IEO_FEA_HI, 1001_ITH_ANG_XX and 1001_IEO_FEA_LO, in both of its tables.
        ((5, 5, 0, 0, 1, 1), "A:D", [5 / 12, 5 / 12, 0, 0, 1 / 12, 1 / 12]),
        ((2, 3, 3, 1, 2, 0), "D:F", [2 / 11, 3 / 11, 3 / 11, 1 / 11, 2 / 11, 0]),
        ((3, 3, 1, 0, 3, 0), "A:D:N", [0.3, 0.3, 0.1, 0, 0.3, 0]),
        ((0, 0, 2, 3, 4, 1), "N", [0, 0, 0.2, 0.3, 0.4, 0.1]),
        ((0, 0, 0, 4, 3, 3), "H", [0, 0, 0, 0.4, 0.3, 0.3]),
        ((0, 0, 0, 0, 0, 0), NO_VOTES, None),
        (None, NO_VOTES, None),
    ],
)
def test_most_votes_win_and_need_be_no_half(
    counts: tuple[int, ...] | None, letters: str, parts: list[float] | None
) -> None:
    assert majority(counts) == letters
    assert shares(counts) == (None if parts is None else pytest.approx(parts))


@pytest.mark.parametrize(("given", "letters"), [("voice", "A:D"), ("face", "H"), ("both", "F:N:S")])
def test_the_summary_says_which_were_chosen_most(given: Presentation, letters: str, tmp_path: Path) -> None:
    path = write_summary(tmp_path, {CLIP: ("A:D", "H", "F:N:S"), OTHER: ("N", "N", "N")})
    assert read_majorities(path, given) == {CLIP: letters, OTHER: "N"}


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("1040_ITH_SAD_X", "1040_ITH_SAD_XX"),
        ("1040_ith_sad_xx ", "1040_ITH_SAD_XX"),
        ("1001_IEO_ANG_HI", "1001_IEO_ANG_HI"),
    ],
)
def test_the_stray_level_is_the_unspecified_one(written: str, full: str) -> None:
    assert full_name(written) == full


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace('"fileName"', '"file"'), "no column fileName; take the corpus's own file"),
        (lambda text: text.replace('"H"', '"h"', 1), "no column H; take the corpus's own file"),
        (
            lambda text: text.replace("100001,", "7,"),
            "line 2: its first column must be 100000 (voice), 200000 (face)",
        ),
        (lambda text: text.replace("100002,0", "100002,NA"), "line 3: its first column must be"),
        (lambda text: "", "no column fileName, A, D, F, H, N, S"),
        (lambda text: f"{text}\0\xff", "cannot be read as a CSV file"),
    ],
    ids=["another name", "another letter", "other row numbers", "no count", "empty", "no text"],
)
def test_a_table_that_is_not_the_corpuss_is_named(change: Callable[[str], str], told: str, tmp_path: Path) -> None:
    path = write_tabulated(tmp_path, VOTES)
    path.write_text(change(path.read_text()), encoding="latin-1")
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}: {told}')}"):
        read_counts(path, "voice")


def test_an_unknown_letter_is_named(tmp_path: Path) -> None:
    path = write_summary(tmp_path, {CLIP: ("A:Q", "H", "A")})
    assert read_majorities(path, "face") == {CLIP: "H"}
    with pytest.raises(CorpusError, match="line 2: VoiceVote 'A:Q'; votes are A, D, F, H, N, S"):
        read_majorities(path, "voice")


def test_a_table_that_is_a_stub_is_explained(tmp_path: Path) -> None:
    path = write_stub(tmp_path / "tabulatedVotes.csv")
    with pytest.raises(CorpusError, match=r"the file is a Git-LFS stub.*`git lfs pull`"):
        read_counts(path, "voice")


def test_actors_have_sex_and_age(tmp_path: Path) -> None:
    path = write_actors(tmp_path, {1001: (51, "Male"), 1002: (21, "Female")})
    assert read_actors(path) == {"1001": ("male", 51), "1002": ("female", 21)}
    path.write_text(path.read_text().replace("51", '"old"'))
    with pytest.raises(CorpusError, match="line 2: Age 'old' is no number of years"):
        read_actors(path)
