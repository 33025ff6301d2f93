"""CMU-MOSEI's labels as .csd and as the raters' CSV, and its words: what is read and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.helpers import mosei_trees as trees
from tests.helpers.mosei_trees import DASH, DEV, NUMBER, TEST, TRAIN, Segment, rating, scores
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.mosei_csd import read_labels, read_words
from trainables.importers.mosei_labels import NONE, TIE, present, strongest
from trainables.importers.mosei_ratings import read_ratings
from trainables.importers.mosei_transcripts import TOLERANCE, Line, matching, read_transcript
from trainables.prepare import prepare
from trainables.spec import MoseiSpec
from trainables.storage import Storage

TEXT = MoseiSpec(modalities=("text",))


def ignore(done: int, total: int) -> None:
    assert done <= total


def texts(root: Path, spec: MoseiSpec = TEXT) -> dict[str, tuple[str, str]]:
    """Text and reason by uid."""
    storage = Storage(str(root.parent / "store"))
    table = read_table(storage, prepare(storage, spec, root, 1, ignore).fingerprint)
    return {row["uid"]: (row["text"], row["reason"]) for row in table.to_pylist()}


@pytest.mark.parametrize(
    ("ratings", "there", "first"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0], NONE),
        ([1 / 3, 0, 0, 0, 0, 2 / 3], [1, 0, 0, 0, 0, 1], "fear"),
        ([0, 2 / 3, 2 / 3, 1 / 3, 0, 0], [0, 1, 1, 1, 0, 0], TIE),
        ([3, 3, 3, 3, 3, 3], [1] * 6, TIE),
        ([5, 10 / 3, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], "happy"),
        ([-1, 0, 0, 0, 1 / 3, 0], [0, 0, 0, 0, 1, 0], "disgust"),
        ([float("nan"), 0, 0, 0, 1 / 3, 0], [0, 0, 0, 0, 1, 0], "disgust"),
        ([float("nan")] * 6, [0] * 6, NONE),
    ],
)
def test_what_is_there_and_what_is_strongest(ratings: list[float], there: list[float], first: str) -> None:
    assert present(ratings) == there
    assert strongest(ratings) == first


@pytest.mark.parametrize("root", ["All Labels", "Emotion Labels", "anything"])
@pytest.mark.parametrize("named", [False, True])
def test_the_columns_are_in_the_sdks_order(tmp_path: Path, root: str, named: bool) -> None:
    features = np.array([[-3, 1, 2, 3, 4, 5, 6]], np.float32)
    path = trees.write_csd(
        tmp_path / "a.csd", root, {TRAIN: (features, [[0.0, 1.0]])}, trees.NAMES if named else None
    )
    (found,) = read_labels(path)
    assert (found.scores, found.uid) == ((1, 2, 3, 4, 5, 6), f"{TRAIN}[0]")


def test_six_columns_are_the_emotions(tmp_path: Path) -> None:
    path = trees.write_csd(tmp_path / "a.csd", "Emotion Labels", {TRAIN: ([[1, 2, 3, 4, 5, 6]], [[0.0, 1.0]])})
    assert read_labels(path)[0].scores == (1, 2, 3, 4, 5, 6)


def test_names_of_the_file_go_before_the_order(tmp_path: Path) -> None:
    names = ["anger", "disgust", "fear", "Happiness", "sadness", "sentiment", "surprise"]
    path = trees.write_csd(tmp_path / "a.csd", "L", {TRAIN: ([[1, 2, 3, 4, 5, 6, 7]], [[0.0, 1.0]])}, names)
    assert read_labels(path)[0].scores == (4, 5, 1, 7, 2, 3)


def test_names_of_other_things_leave_the_order(tmp_path: Path) -> None:
    path = trees.write_csd(tmp_path / "a.csd", "L", {TRAIN: ([[9, 1, 2, 3, 4, 5, 6]], [[0.0, 1.0]])}, ["x"] * 7)
    assert read_labels(path)[0].scores == (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({TRAIN: (np.zeros((1, 5)), [[0.0, 1.0]])}, r"5 columns, named .* happy, sad, anger"),
        ({TRAIN: (np.zeros((2, 7)), [[0.0, 1.0]])}, rf"{TRAIN}: features \[2, 7\] and intervals \[1, 2\]"),
        ({TRAIN: (np.zeros((1, 7)), [[0.0, 1.0, 2.0]])}, rf"{TRAIN}: features \[1, 7\] and intervals \[1, 3\]"),
        ({TRAIN: ([["a"] * 7], [[0.0, 1.0]])}, rf"{TRAIN}: features and intervals are wanted, as numbers"),
        (
            {NUMBER: (np.zeros((1, 7)), [[0.0, 1.0]]), TRAIN: (np.zeros((1, 8)), [[0.0, 1.0]])},
            f"{TRAIN} has 8 columns, and those before it 7",
        ),
    ],
)
def test_a_csd_of_another_shape_is_refused(
    tmp_path: Path, data: Mapping[str, tuple[object, object]], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        read_labels(trees.write_csd(tmp_path / "a.csd", "All Labels", data))


def test_a_file_that_is_no_csd_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csd"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CorpusError, match=r"a\.csd: the file is a Git-LFS stub"):
        read_labels(path)
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(CorpusError, match=r"a\.csd: cannot be read as HDF5 .* fetch it again"):
        read_labels(path)
    trees.write_csd(path, "All Labels/more", {TRAIN: ([[0] * 7], [[0, 1]])})
    with pytest.raises(CorpusError, match="one group with data is wanted, it has All Labels"):
        read_labels(path)


def test_times_that_are_no_numbers_are_no_times(tmp_path: Path) -> None:
    times = [[np.nan, 1.0], [0.0, 1.0]]
    found = read_labels(trees.write_csd(tmp_path / "a.csd", "L", {TRAIN: (np.zeros((2, 7)), times)}))
    assert [(one.start, one.end) for one in found] == [(None, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"{DASH}___0___82.7645___100.555___Key is", Line(0, 82.7645, 100.555, "Key is")),
        (f"{DASH}___12___-0.48___4.104___a ___ b ____ c", Line(12, -0.48, 4.104, "a ___ b ____ c")),
        ("FcAgbLF6__s___3___1___2___", Line(3, 1, 2, "")),
        (f"{NUMBER}___1___1e-1___2.5___of 2008", Line(1, 0.1, 2.5, "of 2008")),
        (f"{DASH}___1___0.0___1.0___b'it\\xe2\\x80\\x99s'", Line(1, 0, 1, "it’s")),
        (f'b"{DASH}___1___0.0___1.0___it\'s"', Line(1, 0, 1, "it's")),
        (f"{DASH}___1___0.0___1.0___b'broken\\x'", Line(1, 0, 1, "b'broken\\x'")),
        (f"{DASH}___1___0.0___1.0___1 2 3", Line(1, 0, 1, "")),
        (f"{DASH}___1___0.0___1.0___a\x85b\u2028c", Line(1, 0, 1, "a\x85b\u2028c")),
        (f"{DASH}___one___0.0___1.0___text", None),
        ("a line of another kind", None),
    ],
)
def test_a_line_of_a_transcript(tmp_path: Path, line: str, expected: Line | None) -> None:
    path = trees.write_transcript(tmp_path, "x", [line])
    assert read_transcript(path) == ([expected] if expected else [])


def test_a_number_among_words_stays(tmp_path: Path) -> None:
    path = trees.write_transcript(tmp_path, "x", [(0, 0, 1, "2008"), (1, 1, 2, "was good")])
    assert [line.text for line in read_transcript(path)] == ["2008", "was good"]


@pytest.mark.parametrize(("encoding", "text"), [("utf-8-sig", "it’s"), ("cp1252", "it’s"), ("utf-16", None)])
def test_a_transcript_in_whatever_encoding(tmp_path: Path, encoding: str, text: str | None) -> None:
    path = tmp_path / "x.txt"
    path.write_text("x___0___0.0___1.0___it’s\n", encoding=encoding)
    assert [line.text for line in read_transcript(path)] == ([text] if text else [])


def test_a_line_matches_with_a_tolerance_and_the_nearest_is_taken() -> None:
    lines = [Line(0, -0.4, 1.0, "a"), Line(1, 1.0, 2.0, "b"), Line(2, 1.02, 2.0, "c"), Line(3, 1.0, 3.0, "d")]
    assert matching(lines, 0.0, 1.00001) == lines[0]
    assert matching(lines, 1.004, 2.0) == lines[1]
    assert matching(lines, 1.015, 2.0) == lines[2]
    assert matching(lines, 1.0, 3.0 + 0.9 * TOLERANCE) == lines[3]
    assert matching(lines, 1.0, 3.0 + 1.1 * TOLERANCE) is None


def test_words_in_time_stand_in_for_transcripts(tmp_path: Path) -> None:
    """Bytes, pauses left out, a word that begins before the segment and is mostly within it."""
    root = trees.write_tree(tmp_path / "raw", trees.plain_segments())
    transcripts = root / "Raw" / "Transcript" / "Segmented" / "Combined"
    (transcripts / f"{NUMBER}.txt").unlink()
    trees.write_transcript(root, TRAIN, [(0, 1.0, 2.0, "12 34")])
    trees.write_transcript(root, DEV, [(0, 0.5, 1.0, "other times")])
    trees.write_words(
        root,
        {
            NUMBER: [(b"sp", 0, 0.4), (b"so", 0.4, 0.7), (b"it\xe2\x80\x99s", 0.7, 1.2), (b"me", 1.4, 1.9)],
            TRAIN: [(2018, 1.5, 2.0), (7, 1.0, 1.5)],
        },
    )
    found = texts(root)
    assert found[f"{NUMBER}[0]"] == ("so it’s", "")
    assert found[f"{TRAIN}[0]"] == ("7 2018", "")
    assert found[f"{DEV}[0]"] == ("", "neither its transcript nor the words in time say what is said")
    assert found[f"{TEST}[1]"] == ("oh no", "")


def test_words_alone_suffice(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    trees.write_labels(root, trees.plain_segments())
    trees.write_words(root, {video: [("word", 0.1, 0.9), ("sp", 0.9, 1.0)] for video in trees.plain_segments()})
    assert texts(root)[f"{DEV}[0]"] == ("word", "")
    assert texts(root)[f"{TRAIN}[0]"][0] == ""


def test_words_of_videos_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    path = trees.write_words(tmp_path, {TRAIN: [("a", 0, 1)], DEV: [("b", 0, 1)]})
    assert list(read_words(path, [DEV, TEST])) == [DEV]


def test_ratings_are_means_of_raters_by_the_names_of_columns(tmp_path: Path) -> None:
    rows = [
        rating(DASH, 0, "w1", happiness=1, anger=3),
        rating(DASH, 0, "w2", happiness=0, anger=3, sadness=1),
        rating(DASH, 0, "w3", sentiment=-3, anger=0),
        rating(NUMBER, 11, "w1", fear="2.0", surprise="1"),
    ]
    found, unanswered = read_ratings([trees.write_ratings(tmp_path, rows)])
    assert [(one.video, one.number, one.clip) for one in found] == [(DASH, 0, 0), (NUMBER, 11, 11)]
    assert found[0].scores == pytest.approx((1 / 3, 1 / 3, 2, 0, 0, 0))
    assert found[1].scores == (0, 0, 0, 1, 0, 2)
    assert (found[0].start, found[0].end, unanswered) == (None, None, 0)


def test_a_rater_counts_once_a_segment(tmp_path: Path) -> None:
    """The batches of the release repeat each other."""
    rows = [rating(DASH, 0, "w1", anger=3), rating(DASH, 0, "w2", anger=0)]
    paths = [
        trees.write_ratings(tmp_path, rows),
        trees.write_ratings(tmp_path, [*rows[:1], rating(DASH, 0, "", anger=0)], "saved.csv"),
    ]
    assert read_ratings(paths)[0][0].scores == (0, 0, 1, 0, 0, 0)


def test_a_row_without_an_answer_does_not_count(tmp_path: Path) -> None:
    rows = [rating(DASH, 0, "w1", anger=3), rating(DASH, 0, "w2", anger=""), rating(DASH, 0, "w3", anger="nan")]
    found, unanswered = read_ratings([trees.write_ratings(tmp_path, rows)])
    assert (found[0].scores[2], unanswered) == (3, 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (rating(DASH, 0, "w", fear="much"), r"raw\.csv: row 3: Answer\.fear is 'much', not a number"),
        (rating(DASH, 0, "w", fear="inf"), r"row 3: Answer\.fear is 'inf', not a number"),
        (rating("", 0, "w"), r"row 3: Input\.VIDEO_ID '', Input\.CLIP '0'; an id and a number are wanted"),
        (rating(DASH, 0, "w") | {"Input.CLIP": "1.5"}, r"row 3: Input\.VIDEO_ID .* an id and a number"),
    ],
)
def test_a_fault_of_a_rating_names_row_and_value(tmp_path: Path, row: dict[str, object], message: str) -> None:
    path = trees.write_ratings(tmp_path, [rating(DASH, 0, "w1"), row])
    with pytest.raises(CorpusError, match=message):
        read_ratings([path])


def test_a_column_of_answers_that_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Input.VIDEO_ID,Input.CLIP,Answer.anger\nx,0,1\n")
    with pytest.raises(CorpusError, match=r"a\.csv: no column of answers for happy, sad, surprise, disgust, fear"):
        read_ratings([path])


def test_without_a_csd_the_raters_say_what_and_the_transcripts_when(tmp_path: Path) -> None:
    root = trees.write_tree(tmp_path / "raw", trees.plain_segments())
    (root / trees.LABELS).unlink()
    rows = [rating(video, 0, worker, anger=1) for video in trees.plain_segments() for worker in "abc"]
    trees.write_ratings(root, [*rows, rating(TRAIN, 7, "a", anger=1)])
    (root / "Raw" / "Labels" / "other.csv").write_text("a,b\n1,2\n")
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, MoseiSpec(), root, 1, ignore)
    found = {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}
    assert record.rows == {"train": 3, "dev": 1, "test": 1}
    assert {row["label"] for row in found.values()} == {"anger"}
    assert (found[f"{NUMBER}[0]"]["text"], found[f"{NUMBER}[0]"]["seconds"]) == ("so what", pytest.approx(1))
    lost = found[f"{TRAIN}[7]"]
    assert (lost["status"], lost["audio"], lost["turn"]) == ("missing_media", None, 1)
    assert "neither labels nor transcript say when it is" in lost["reason"]
    assert any("means of the raters in 1 CSV file" in said["reason"] for said in record.info["remarks"])


def test_with_a_csd_the_raters_are_not_read(tmp_path: Path) -> None:
    root = trees.write_tree(tmp_path / "raw", trees.plain_segments())
    trees.write_ratings(root, [rating(TRAIN, 0, "a", anger="not a number")])
    assert set(texts(root)) >= {f"{TRAIN}[0]"}


def test_two_csds_of_labels_must_be_one(tmp_path: Path) -> None:
    root = trees.write_tree(tmp_path / "raw", trees.plain_segments())
    trees.write_labels(root / "more", {TRAIN: [Segment((0, 1), scores())] * 999})
    with pytest.raises(CorpusError, match=r"Labels\.csd differ in size; keep the one to be read"):
        texts(root)
