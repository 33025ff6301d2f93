"""The importer on a tree with IEMOCAP's layout and traps: exact rows, votes, alignments, folds and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.crema_d_trees import write_stub
from tests.helpers.iemocap_trees import (
    RATE,
    Said,
    plain_turns,
    tone,
    wav_of,
    write,
    write_alignment,
    write_tree,
    write_wav,
)
from trainables.artifacts import Record
from trainables.corpus import read_table, with_fold
from trainables.errors import CorpusError
from trainables.importers.base import Problem
from trainables.importers.lfs import explain
from trainables.prepare import prepare, problem_table
from trainables.spec import IemocapSpec
from trainables.storage import Storage

Counts = dict[str, int]
FIRST = "Ses01F_impro05_"
"""A dialogue of which every turn is another trap."""


def ignore(done: int, total: int) -> None:
    assert done <= total


def traps() -> list[Said]:
    """In EmoEvaluation's order: the turns of one speaker, then the other's."""
    return [
        Said(
            FIRST + "F000", "neu", "He said: no.", 6.2901, 8.2357, {"e2": ":Neutral state; ()", "e3": ":Anger; ()"}
        ),
        Said(FIRST + "F001", "ang", "Two at once.", 12, 13, {"e2": ":Anger; :Sadness; ()", "e3": ":Anger; ()"}),
        Said(
            FIRST + "F002",
            "exc",
            "Café.",
            20,
            21,
            {"e2": ":Excited; ()", "e3": ":Happiness; ()", "e4": ":Other; ()"},
        ),
        Said(FIRST + "F003", "fru", "Left out.", 22, 23),
        Said(FIRST + "F004", "hap", "No vote left.", 24, 25, {"e2": ":Surprise; ()", "e3": ":Frustration; ()"}),
        Said(FIRST + "M000", "sad", "Stereo at 44100.", 7.5712, 10.475),
        Said(FIRST + "M001", "xxx", "No majority.", 14, 15),
        Said(FIRST + "M002", "neu", "No wav.", 16, 17),
        Said(FIRST + "M003", "neu", "Corrupt.", 18, 19),
        Said(
            FIRST + "M004", "neu", "Cropped.", 26, 60, words=[(0, 49, "ONE"), (90, 119, "TWO"), (120, 130, "THREE")]
        ),
        Said(FIRST + "M005", "neu", "No time.", 30, 30),
        Said(FIRST + "M006", "neu", "", 32, 33, words=None),
        Said(FIRST + "M007", "neu", "Torn alignment.", 34, 35),
        Said("Ses05M_script01_1b_F000", "neu", "Of one b.", votes={}),
        Said("Ses05M_script01_1_F005", "neu", "Of one.", 100, 101),
    ]


def trapped_tree(root: Path) -> Path:
    extra, plain = traps(), plain_turns()
    turns = plain[:-8] + [turn for turn in extra if turn.dialogue == "Ses05M_script01_1"] + plain[-8:]
    write_tree(root, turns + [turn for turn in extra if turn.dialogue != "Ses05M_script01_1"])
    stereo = np.stack([tone(0.5, 44_100), tone(0.5, 44_100, 880)], axis=1)
    write_wav(wav_of(root, FIRST + "M000"), stereo, 44_100)
    wav_of(root, FIRST + "M002").unlink()
    wav_of(root, FIRST + "M003").write_bytes(b"RIFF")
    write_wav(wav_of(root, FIRST + "M004"), tone(34))
    write_wav(wav_of(root, FIRST + "MXX0"), tone(0.5))
    write_alignment(root, Said(FIRST + "F001"), [(10, 29, "TWO")])
    folder = write_alignment(root, Said(FIRST + "M007"), [(10, 29, "TORN")])
    (folder / f"{FIRST}F001.syseg").unlink()
    write(folder / f"{FIRST}M007.phseg", "12 broken")
    write(wav_of(root, FIRST + "F000").with_name(f"._{FIRST}F000.wav"), "\x00\x05\x16\x07")
    write(wav_of(root, FIRST + "F000").with_suffix(".pk"), "pickle")
    spoil_transcript(root / "Session1/dialog/transcriptions/Ses01F_impro05.txt")
    return root


def spoil_transcript(path: Path) -> None:
    """In latin-1, with a line without an id, one of an id that is not rated, and none of M006."""
    lines = [line for line in path.read_text("utf-8").splitlines() if "M006" not in line]
    lines[1:1] = ["M: Wow.", FIRST + "MXX0 [006.0000-006.2000]: Hm."]
    path.write_bytes("\r\n".join(lines).encode("latin-1"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trapped_tree(tmp_path_factory.mktemp("raw") / "IEMOCAP_full_release")


@pytest.fixture(scope="module")
def prepared(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, dict[str, dict[str, Any]]]:
    storage = Storage(str(tmp_path_factory.mktemp("store")))
    record = prepare(storage, IemocapSpec(max_seconds=1), root, 2, ignore)
    return record, {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}


@pytest.fixture
def both(root: Path, tmp_path: Path) -> tuple[Path, Path]:
    return root, tmp_path


def rows_of(tmp_path: Path, root: Path, spec: IemocapSpec) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, spec, root, 1, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def test_every_turn_in_use_is_a_row_and_every_trap_is_told(
    prepared: tuple[Record, dict[str, dict[str, Any]]],
) -> None:
    record, rows = prepared
    shown = problem_table(record)
    assert record.rows == {"all": 93} == {"all": len(rows)}
    assert record.info["excluded"] == {"fru": 1, "xxx": 1}
    assert record.info["expected"] == {"all": 5531}
    assert record.info["labels"] == ["neutral", "anger", "sadness", "happiness"]
    assert [(p.uid[len(FIRST) :], p.status) for p in shown.problems] == [
        ("M002", "missing_media"),
        ("M003", "decode_error"),
        ("M004", "too_long"),
    ]
    assert shown.remarks[-3:] == (
        Problem(FIRST + "M005", "ok", "EmoEvaluation has it from 30 to 30 s"),
        Problem(FIRST + "M006", "ok", "the transcript has no line of this name; its text is empty"),
        Problem(
            FIRST + "M007",
            "ok",
            f"forced alignment left out: {FIRST}M007.phseg: line 1 is '12 broken', "
            "not first frame, last frame, score, label",
        ),
    )
    assert [remark.reason for remark in shown.remarks if remark.uid == "all"][:1] == [
        "2 of 93 rows have no rater's vote for a class in use: their `votes` are null",
    ]
    assert shown.extra_clips == (FIRST + "MXX0",)
    assert (record.info["unaligned"], record.info["unrated"]) == (2, 2)


def test_who_says_what_when(prepared: tuple[Record, dict[str, dict[str, Any]]]) -> None:
    """Turns are numbered in time, those that are left out too."""
    found = [row for row in prepared[1].values() if row["dialogue"] == FIRST[:-1]]
    assert [
        (row["turn"], row["uid"][len(FIRST) :], row["speaker"], row["label"], row["text"]) for row in found
    ] == [
        (0, "F000", "01F", "neutral", "He said: no."),
        (1, "M000", "01M", "sadness", "Stereo at 44100."),
        (2, "F001", "01F", "anger", "Two at once."),
        (4, "M002", "01M", "neutral", "No wav."),
        (5, "M003", "01M", "neutral", "Corrupt."),
        (6, "F002", "01F", "happiness", "Café."),
        (8, "F004", "01F", "happiness", "No vote left."),
        (9, "M004", "01M", "neutral", "Cropped."),
        (10, "M005", "01M", "neutral", "No time."),
        (11, "M006", "01M", "neutral", ""),
        (12, "M007", "01M", "neutral", "Torn alignment."),
    ]


def test_a_dialogue_is_not_taken_for_its_neighbour(prepared: tuple[Record, dict[str, dict[str, Any]]]) -> None:
    rows = prepared[1]
    assert rows["Ses05M_script01_1b_F000"]["dialogue"] == "Ses05M_script01_1b"
    assert rows["Ses05M_script01_1b_F000"]["text"] == "Of one b."
    assert rows["Ses05M_script01_1_F005"]["text"] == "Of one."
    assert rows["Ses05M_script01_1_F000"]["text"] == "Line 0 of script01_1."
    assert sum(row["dialogue"] == "Ses05M_script01_1" for row in rows.values()) == 9


@pytest.mark.parametrize(
    ("turn", "votes"),
    [
        ("F000", [0.5, 0.5, 0, 0]),  # the label is the release's, whatever the shares
        ("F001", [0, 0.75, 0.25, 0]),
        ("F002", [0, 0, 0, 1]),
        ("F004", None),
        ("M000", [0, 0, 1, 0]),
    ],
)
def test_votes(
    prepared: tuple[Record, dict[str, dict[str, Any]]], turn: str, votes: Sequence[float] | None
) -> None:
    found = prepared[1][FIRST + turn]["votes"]
    assert found is None if votes is None else found == pytest.approx(votes)


def test_the_evaluations_own_lines_stand_in_for_raters_files(root: Path, tmp_path: Path) -> None:
    spec = IemocapSpec(modalities=("text",))
    filed = {row["uid"]: row["votes"] for row in rows_of(tmp_path, root, spec)[1]}
    bare = trapped_tree(tmp_path / "bare")
    for path in bare.rglob("Categorical/*"):
        path.unlink()
    assert {row["uid"]: row["votes"] for row in rows_of(tmp_path / "bare-store", bare, spec)[1]} == filed


@pytest.mark.parametrize(
    ("turn", "words", "syllables"),
    [
        ("F000", [("EXCUSE", 0.1, 0.3), ("ME", 0.3, 0.45)], ["T AH", "T AH"]),
        ("F001", [("TWO", 0.1, 0.3)], ["AH"]),  # without a .syseg of its own: worked out from the phones
        ("M004", [("ONE", 0, 0.5), ("TWO", 0.9, 1)], ["T AH", "T AH"]),  # cropped to one second
        ("M006", None, None),
        ("M007", None, None),
    ],
)
def test_alignments(
    prepared: tuple[Record, dict[str, dict[str, Any]]],
    turn: str,
    words: list[tuple[str, float, float]] | None,
    syllables: list[str] | None,
) -> None:
    row = prepared[1][FIRST + turn]
    assert row["aligned"] == (None if words is None else "corpus")
    if words is None:
        assert (row["words"], row["phones"], row["syllables"]) == (None, None, None)
        return
    assert [(s["label"], round(s["start"], 4), round(s["end"], 4)) for s in row["words"]] == words
    assert [s["label"] for s in row["phones"]] == ["AH"] * len(words)
    assert [s["label"] for s in row["syllables"]] == syllables


def test_any_wav_becomes_sixteen_kilohertz_mono(prepared: tuple[Record, dict[str, dict[str, Any]]]) -> None:
    rows = prepared[1]
    assert rows[FIRST + "M000"]["seconds"] == pytest.approx(0.5, abs=2 / RATE)
    assert rows[FIRST + "M000"]["status"] == "ok"
    assert (rows[FIRST + "M004"]["seconds"], rows[FIRST + "M004"]["raw_seconds"]) == (1, 34)
    assert [u for u, row in rows.items() if row["audio"] is None] == [FIRST + "M002", FIRST + "M003"]


def test_by_session_one_is_out_in_turn_and_dev_is_whole_dialogues(root: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, IemocapSpec(modalities=("text",)), root, 1, ignore)
    assert record.info["speaker_disjoint"] == ["test"]
    table = read_table(storage, record.fingerprint)
    for fold in range(5):
        rows = with_fold(table, fold).to_pylist()
        assert {row["uid"][:5] for row in rows if row["split"] == "test"} == {f"Ses0{fold + 1}"}
        assert not [row for row in rows if row["uid"][4] == str(fold + 1) and row["split"] != "test"]
        homes = {(row["dialogue"], row["split"]) for row in rows}
        assert len(homes) == len({row["dialogue"] for row in rows}) == 12
        assert 1 <= sum(split == "dev" for _, split in homes) <= 2


def test_by_speaker_the_other_of_the_session_is_dev(root: Path, tmp_path: Path) -> None:
    """The two parts of a dialogue are test and dev, so that each is a `dialogue` of its own."""
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, IemocapSpec(modalities=("text",), protocol="speaker"), root, 1, ignore)
    assert record.info["speaker_disjoint"] == ["train", "dev", "test"]
    table = read_table(storage, record.fingerprint)
    speakers = [f"0{session}{letter}" for session in range(1, 6) for letter in "FM"]
    for fold, speaker in enumerate(speakers):
        rows = with_fold(table, fold).to_pylist()
        by_split = {
            split: {r["speaker"] for r in rows if r["split"] == split} for split in ("train", "dev", "test")
        }
        partner = speaker[:2] + ("M" if speaker[2] == "F" else "F")
        assert by_split == {"train": set(speakers) - {speaker, partner}, "dev": {partner}, "test": {speaker}}
    assert {row["dialogue"][-2:] for row in rows} == {"_F", "_M"}
    assert all(row["uid"].startswith(row["dialogue"]) for row in rows)


@pytest.mark.parametrize(
    ("fields", "counts", "excluded", "official"),
    [
        (
            {"happiness": "alone"},
            {"neutral": 29, "anger": 21, "sadness": 21, "happiness": 21},
            {"exc": 1, "fru": 1, "xxx": 1},
            {"all": 4490},
        ),
        (
            {"classes": 6},
            {"happiness": 21, "sadness": 21, "neutral": 29, "anger": 21, "excitement": 1, "frustration": 1},
            {"xxx": 1},
            {"all": 7380},
        ),
        (
            {"part": "improvised"},
            {"neutral": 17, "anger": 11, "sadness": 11, "happiness": 12},
            {"scripted": 42, "fru": 1, "xxx": 1},
            {"all": 2943},
        ),
        (
            {"classes": 6, "part": "improvised"},
            {"happiness": 11, "sadness": 11, "neutral": 17, "anger": 11, "excitement": 1, "frustration": 1},
            {"scripted": 42, "xxx": 1},
            {},
        ),
    ],
)
def test_the_choice_of_classes(
    both: tuple[Path, Path], fields: dict[str, Any], counts: Counts, excluded: Counts, official: Counts
) -> None:
    root, tmp_path = both
    record, rows = rows_of(tmp_path, root, IemocapSpec(modalities=("text",), **fields))
    assert Counter(row["label"] for row in rows) == counts
    assert record.info["labels"] == list(counts)
    assert record.info["excluded"] == excluded
    assert record.info["expected"] == official


def test_another_alignment_leaves_the_corpuss_own_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", plain_turns(), seconds=0.1)
    spec = IemocapSpec.model_validate({"alignment": {"type": "proportional"}})
    _, rows = rows_of(tmp_path, root, spec)
    assert not [row["uid"] for row in rows if row["aligned"] == "corpus"]


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("Ses03F_impro01.txt", "\tang\t", "\tangry\t", "line 17: unknown label 'angry' of Ses03F_impro01_F001"),
        ("Categorical/Ses03F_impro01_e2_cat.txt", ":Anger;", ":Rage;", "line 3: unknown category 'Rage'"),
        ("Ses03F_impro01.txt", "Ses03F_impro01_F001", "Ses03F_impro02_F001", "Ses03F_impro02_F001 is not a turn"),
    ],
)
def test_what_is_unknown_stops_it(tmp_path: Path, name: str, old: str, new: str, told: str) -> None:
    root = write_tree(tmp_path / "raw", plain_turns(), media=False)
    path = root / "Session3/dialog/EmoEvaluation" / name
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CorpusError) as error:
        rows_of(tmp_path, root, IemocapSpec(modalities=("text",)))
    assert str(path) in str(error.value)
    assert told in str(error.value)


def test_a_session_without_a_class_in_use_cannot_be_a_fold(tmp_path: Path) -> None:
    turns = [turn for turn in plain_turns() if turn.session != "Session4"]
    turns += [Said("Ses04F_impro01_F000", "fru"), Said("Ses04F_impro01_M000", "xxx", start=1, end=2)]
    root = write_tree(tmp_path / "raw", turns, media=False)
    with pytest.raises(CorpusError, match=r"protocol session, of the utterances in use: 5 folds of 4 groups"):
        rows_of(tmp_path, root, IemocapSpec(modalities=("text",)))


def test_a_git_lfs_stub_is_explained(tmp_path: Path) -> None:
    turns = plain_turns()
    root = write_tree(tmp_path / "raw", turns, seconds=0.1)
    write_stub(wav_of(root, turns[0].uid))
    record, rows = rows_of(tmp_path, root, IemocapSpec())
    assert [row["uid"] for row in rows if row["status"] == "lfs_stub"] == [turns[0].uid]
    told = [said.reason for said in problem_table(record).remarks if "git lfs pull" in said.reason]
    assert told == [explain(1, len(turns), root)]
