"""IEMOCAP's text files line by line, as the release writes them and as it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.iemocap_trees import write
from trainables.errors import CorpusError
from trainables.importers.iemocap_texts import Turn, read_evaluation, read_ratings, read_transcript

EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[14.8872 - 18.0175]\tSes01F_impro01_F002\tfru\t[2.5000, 3.0000, 2.5000]
C-E2:\tFrustration; Anger;\t(tired; at her limit)
C-E4:\tOther;\t(what: this)
C-F1:\tSadness;\t()
C-M1:\tSadness;\t()
A-E3:\tval 3; act 2; dom  2;\t()
A-E4:\tval 2; act 3; dom ;\t()
A-F1:\tval 2; act 3;\t()

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
C-E3:\t;\t()

[7.5712 - 10.4750]\tSes01F_impro01_M000\txxx\t[2.5000, 2.5000, 2.5000]
"""


def test_an_evaluation_file_gives_turns_in_time_and_its_raters(tmp_path: Path) -> None:
    turns, ratings = read_evaluation(write(tmp_path / "Ses01F_impro01.txt", EVALUATION))
    assert turns == [
        Turn("Ses01F_impro01_F000", "neu", 6.2901, 8.2357),
        Turn("Ses01F_impro01_M000", "xxx", 7.5712, 10.475),
        Turn("Ses01F_impro01_F002", "fru", 14.8872, 18.0175),
    ]
    assert ratings == {
        "Ses01F_impro01_F002": {"e2": {"fru", "ang"}, "e4": {"oth"}},
        "Ses01F_impro01_F000": {"e2": {"neu"}},
    }


def test_line_ends_of_windows_and_old_apples_are_line_ends(tmp_path: Path) -> None:
    unix = read_evaluation(write(tmp_path / "a.txt", EVALUATION))
    assert read_evaluation(write(tmp_path / "b.txt", EVALUATION.replace("\n", "\r\n"))) == unix
    assert read_evaluation(write(tmp_path / "c.txt", EVALUATION.replace("\n", "\r"))) == unix


@pytest.mark.parametrize(
    ("uid", "session", "speaker", "dialogue"),
    [
        ("Ses01F_impro01_F000", "1", "01F", "Ses01F_impro01"),
        ("Ses01F_impro01_M000", "1", "01M", "Ses01F_impro01"),
        ("Ses03M_impro05b_F012", "3", "03F", "Ses03M_impro05b"),
        ("Ses05M_script01_1b_M040", "5", "05M", "Ses05M_script01_1b"),
    ],
)
def test_who_speaks_is_in_the_last_token(uid: str, session: str, speaker: str, dialogue: str) -> None:
    turn = Turn(uid, "neu", 0, 1)
    assert (turn.session, turn.speaker, turn.dialogue) == (session, speaker, dialogue)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "[1.0 - 2.0]\tSes01F_impro01_F000\thapy\t[1, 1, 1]",
            "line 1: unknown label 'hapy' of Ses01F_impro01_F000",
        ),
        ("[1.0 - 2.0]\tSes09F_impro01_F000\thap\t[1, 1, 1]", "line 1: '[1.0 - 2.0]"),
        ("[1.0 - 2.0]\tSes01F_impro01_F000\thap", "line 1: '[1.0 - 2.0]"),
        (
            "[1.0 - 2.0]\tSes01F_impro01_F000\thap\t[1, 1, 1]\nC-E1:\tJoy;\t()",
            "line 2: unknown category 'Joy' of Ses01F_impro01_F000",
        ),
        (
            "[1.0 - 2.0]\tSes01F_impro01_F000\thap\t[1, 1, 1]\n" * 2,
            "line 2: Ses01F_impro01_F000 occurs a second time",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_value(tmp_path: Path, line: str, told: str) -> None:
    path = write(tmp_path / "Ses01F_impro01.txt", line)
    with pytest.raises(CorpusError) as error:
        read_evaluation(path)
    assert str(error.value).startswith(f"{path}: {told}")


def test_one_raters_file_may_name_several_categories(tmp_path: Path) -> None:
    path = write(
        tmp_path / "Ses01F_impro01_e2_cat.txt",
        "Ses01F_impro01_F000 :Neutral state; ()\n"
        "Ses01F_impro01_F001 :Anger; :Frustration; (she: shouts; a lot)\n"
        "Ses01F_impro01_F002 :Excited; Surprise;\n"
        "Ses01F_impro01_F003 : ()\n"
        "\n",
    )
    assert read_ratings(path) == {
        "Ses01F_impro01_F000": {"e2": {"neu"}},
        "Ses01F_impro01_F001": {"e2": {"ang", "fru"}},
        "Ses01F_impro01_F002": {"e2": {"exc", "sur"}},
    }


def test_an_unknown_category_is_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "Ses01F_impro01_e2_cat.txt", "Ses01F_impro01_F000 :Anger; :Calm; ()\n")
    with pytest.raises(CorpusError, match=r"_e2_cat.txt: line 1: unknown category 'Calm' of Ses01F_impro01_F000"):
        read_ratings(path)


def test_a_transcript_keeps_colons_tags_and_the_first_line_of_an_id(tmp_path: Path) -> None:
    path = write(
        tmp_path / "Ses01F_impro01.txt",
        "Ses01F_impro01_F000 [006.2901-008.2357]: He said: no. [LAUGHTER]\n"
        "M: Wow.\n"
        "Ses01F_impro01_MXX0 [008.3000-008.9000]: Hm.\n"
        "Ses01F_impro01_M000 [007.5712-010.4750]:  \n"
        "Ses01F_impro01_F000 [006.2901-008.2357]: Again.\n",
    )
    assert read_transcript(path) == {
        "Ses01F_impro01_F000": "He said: no. [LAUGHTER]",
        "Ses01F_impro01_MXX0": "Hm.",
        "Ses01F_impro01_M000": "",
    }


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-8", "café it’s"), ("cp1252", "café it’s"), ("latin-1", "café"), ("utf-8-sig", "é")]
)
def test_a_transcript_may_be_in_an_old_encoding(tmp_path: Path, encoding: str, text: str) -> None:
    path = write(tmp_path / "t.txt", f"Ses01F_impro01_F000 [006.2901-008.2357]: {text}\n", encoding)
    assert read_transcript(path) == {"Ses01F_impro01_F000": text}


def test_bytes_that_mean_nothing_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"Ses01F_impro01_F000 [006.2901-008.2357]: a\x81b\n")
    assert read_transcript(path) == {"Ses01F_impro01_F000": "a\N{REPLACEMENT CHARACTER}b"}
