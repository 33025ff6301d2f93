"""MELD's CSV files: encodings, faults by row, and rows that occur twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.meld_trees import HEADER, Row, row, write_csv
from trainables.errors import CorpusError
from trainables.importers.meld_rows import Utterance, clean, copies, read_utterances
from trainables.spec import EMOTIONS


def read(path: Path, split: str = "train") -> list[Utterance]:
    return read_utterances(path, split, EMOTIONS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_old_and_new_encodings_give_the_same_text(tmp_path: Path, encoding: str) -> None:
    text = "Oh my God, he’s lost it… café — really"
    path = write_csv(tmp_path / "a.csv", [row(3, 4, Utterance=text)], encoding)
    (utterance,) = read(path)
    assert utterance.text == text
    assert (utterance.uid, utterance.dialogue, utterance.clip) == ("train-dia3-utt4", "train-dia3", (3, 4))


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [(" he\x92s \t", "he’s"), ("caf\xe9", "café"), ("a\x81b", "ab"), ("two  blanks", "two  blanks")],
)
def test_text_is_cleaned_minimally(raw: str, cleaned: str) -> None:
    assert clean(raw) == cleaned


def test_columns_go_by_name_not_by_place(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [row(1, 2, Speaker="Ross")], header=HEADER[::-1])
    (utterance,) = read(path)
    assert (utterance.speaker, utterance.dialogue_id, utterance.utterance_id) == ("Ross", 1, 2)


def test_rows_are_ordered_by_number(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [row(10, 0), row(9, 10), row(9, 2)])
    assert [u.uid for u in read(path)] == ["train-dia9-utt2", "train-dia9-utt10", "train-dia10-utt0"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(0, 0), row(0, 1, Emotion="happy")], "row 3: unknown Emotion 'happy'; known are neutral, surprise"),
        ([row(0, 0), row(0, 0)], "row 3: Dialogue_ID 0, Utterance_ID 0 occurs a second time"),
        ([row(0, 0, Dialogue_ID="x1")], "row 2: Dialogue_ID is 'x1'"),
        ([row(0, 0, Utterance_ID="-1")], "row 2: Utterance_ID is '-1'"),
        ([], "no rows"),
    ],
)
def test_a_fault_names_file_row_and_value(tmp_path: Path, rows: list[Row], words: str) -> None:
    path = write_csv(tmp_path / "train_sent_emo.csv", rows)
    with pytest.raises(CorpusError, match=r"train_sent_emo\.csv") as caught:
        read(path)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no column Utterance"),
        (b"Utterance,Speaker,Dialogue_ID,Utterance_ID\nHi,Joey,0,0\n", "no column Emotion"),
        (b"Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\nHi,Joey\n", "ends before Emotion"),
        (b"Utterance,Speaker\n\x81\xff\n", "neither UTF-8 nor cp1252"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "dev_sent_emo.csv"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=f"dev_sent_emo.csv.*{words}"):
        read(path)


def test_the_dyadic_file_names_the_old_clip(tmp_path: Path) -> None:
    header = [*HEADER[1:], "Old_Dialogue_ID", "Old_Utterance_ID"]
    rows = [row(0, 1) | {"Old_Dialogue_ID": "17", "Old_Utterance_ID": "5"}]
    (utterance,) = read(write_csv(tmp_path / "a.csv", rows, header=header))
    assert (utterance.uid, utterance.clip) == ("train-dia0-utt1", (17, 5))


@pytest.mark.parametrize(
    ("start", "end", "empty"),
    [
        ("0:12:32,632", "0:12:32,632", True),
        ("00:12:33,000", "00:12:32,999", True),
        ("9:59:59,999", "10:00:00,000", False),
        ("", "", False),
    ],
)
def test_an_empty_interval_is_compared_as_time(tmp_path: Path, start: str, end: str, empty: bool) -> None:
    (utterance,) = read(write_csv(tmp_path / "a.csv", [row(0, 0, StartTime=start, EndTime=end)]))
    assert utterance.empty_interval is empty


def test_copies_share_text_episode_and_times(tmp_path: Path) -> None:
    train = read(write_csv(tmp_path / "a.csv", [row(0, 0), row(0, 1), row(0, 2, StartTime="", EndTime="")]))
    rows = [row(0, 0), row(0, 1, Season="2"), row(0, 2, StartTime="", EndTime="")]
    test = read(write_csv(tmp_path / "b.csv", rows), "test")
    found = {uid: [u.uid for u in others] for uid, others in copies([*train, *test]).items()}
    assert found == {"train-dia0-utt0": ["test-dia0-utt0"], "test-dia0-utt0": ["train-dia0-utt0"]}
