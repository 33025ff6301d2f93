"""CMU-MOSEI's tree as rows: labels by task, cuts of the recordings, and every trap of the release."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.helpers import mosei_trees as trees
from tests.helpers.cli import bare_machine, orch
from tests.helpers.crema_d_trees import write_stub
from tests.helpers.mosei_trees import DASH, DEV, HERTZ, NOWHERE, NUMBER, TEST, TRAIN, UNDERSCORES, Segment, scores
from trainables.artifacts import Record
from trainables.corpus import SAMPLE_RATE, SPLITS, read_table
from trainables.errors import CorpusError, UserError
from trainables.importers.lfs import STUB, explain
from trainables.importers.mosei import MoseiImporter
from trainables.importers.mosei_folds import VIDEOS, official_split
from trainables.importers.mosei_layout import find_layout
from trainables.importers.mosei_rows import read_rows
from trainables.prepare import corpus_fingerprint, prepare, problem_table
from trainables.spec import MoseiSpec
from trainables.spec.base import Modality
from trainables.storage import Storage

Rows = dict[str, dict[str, Any]]
ONE = MoseiSpec(task="one")
SOUND: tuple[Modality, ...] = ("audio",)
SEEN = MoseiSpec(modalities=("audio", "visual"))


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: MoseiSpec | None = None) -> tuple[Record, Rows]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec or MoseiSpec(), root, 1, ignore)
    return record, {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}


def tree(folder: Path, *segments: Segment) -> Path:
    """The plain tree, with those of `TRAIN` in the place of its own."""
    found = trees.plain_segments()
    return trees.write_tree(folder / "raw", found | ({TRAIN: list(segments)} if segments else {}))


def heard(row: dict[str, Any]) -> list[int]:
    """The second of the recording that sounds in each half second of the row."""
    samples, rate = soundfile.read(io.BytesIO(row["audio"]))
    assert rate == SAMPLE_RATE
    found = []
    for start in range(0, len(samples) - rate // 4, rate // 2):
        spectrum = np.abs(np.fft.rfft(samples[start : start + rate // 2]))
        found.append(round(float(np.argmax(spectrum)) * rate / len(samples[start : start + rate // 2]) / HERTZ) - 1)
    return found


def seen(row: dict[str, Any]) -> list[int]:
    """The second of the recording that each picture of the row is of."""
    return [round(float(np.asarray(Image.open(io.BytesIO(image))).mean()) / 50) for image in row["images"]]


def said(record: Record) -> list[str]:
    return [remark.reason for remark in problem_table(record).remarks if remark.uid == "all"]


def test_the_official_split_is_whole_and_by_video() -> None:
    split = official_split()
    assert VIDEOS == {"train": 2249, "dev": 300, "test": 678}
    assert {name: list(split.values()).count(name) for name in SPLITS} == VIDEOS
    assert len(split) == 3227
    youtube = [video for video in split if not video.isdecimal()]
    # The last of YouTube's eleven characters has two bits less: a character lost or moved shows there.
    assert {len(video) for video in youtube} == {11}
    assert {video[-1] for video in youtube} <= set("AEIMQUYcgkosw048")
    assert [split[video] for video in (TRAIN, DASH, UNDERSCORES, NUMBER, DEV, TEST)] == ["train"] * 4 + [
        "dev",
        "test",
    ]
    assert NOWHERE not in split


def test_several_labels_are_those_that_any_rater_gave(tmp_path: Path) -> None:
    root = tree(
        tmp_path, Segment((0, 1), scores(happy=1 / 3, fear=2, sentiment=3)), Segment((1, 2), scores(sentiment=-3))
    )
    record, rows = prepared(root)
    assert record.info["labels"] == ["happy", "sad", "anger", "surprise", "disgust", "fear"]
    assert record.info["multi_label"]
    assert rows[f"{TRAIN}[0]"]["targets"] == [1, 0, 0, 0, 0, 1]
    assert rows[f"{TRAIN}[0]"]["label"] == "happy+fear"
    assert rows[f"{TRAIN}[1]"]["targets"] == [0] * 6  # the sentiment is no emotion
    assert rows[f"{TRAIN}[1]"]["label"] == ""
    assert record.info["excluded"] == {}


def test_one_label_is_the_strongest_and_none_or_a_tie_is_left_out(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        Segment((0, 1), scores(happy=1 / 3, fear=2)),
        Segment((1, 2), scores(sentiment=-3)),
        Segment((2, 3), scores(sad=2 / 3, anger=2 / 3, happy=1 / 3)),
        Segment((2, 3), scores()),
        Segment((3, 4), scores(surprise=0.1)),
    )
    record, rows = prepared(root, ONE)
    assert {uid: row["label"] for uid, row in rows.items() if row["dialogue"] == TRAIN} == {
        f"{TRAIN}[0]": "fear",
        f"{TRAIN}[4]": "surprise",
    }
    assert [rows[f"{TRAIN}[{k}]"]["turn"] for k in (0, 4)] == [0, 1]
    assert {row["targets"] for row in rows.values()} == {None}
    assert record.info["excluded"] == {"no emotion": 2, "tie of the strongest": 1}


def test_a_fourth_raters_sums_make_no_ties(tmp_path: Path) -> None:
    root = tree(tmp_path, Segment((0, 1), scores(anger=5, disgust=10 / 3)))
    record, rows = prepared(root, ONE)
    assert rows[f"{TRAIN}[0]"]["label"] == "anger"
    assert any("1 segment has a rating outside 0 to 3, which changes neither" in told for told in said(record))


def test_rows_are_numbered_as_the_sdk_does_and_turns_go_by_time(tmp_path: Path) -> None:
    root = tree(
        tmp_path, Segment((2, 3), text="third"), Segment((0, 1), text="first"), Segment((1, 2), text="second")
    )
    _, rows = prepared(root)
    train = [row for row in rows.values() if row["dialogue"] == TRAIN]
    assert [row["uid"] for row in train] == [f"{TRAIN}[1]", f"{TRAIN}[2]", f"{TRAIN}[0]"]
    assert [row["turn"] for row in train] == [0, 1, 2]
    assert [row["text"] for row in train] == ["first", "second", "third"]
    assert {row["speaker"] for row in train} == {TRAIN}
    assert [heard(row) for row in train] == [[0, 0], [1, 1], [2, 2]]


def test_a_start_before_the_recording_is_taken_as_zero(tmp_path: Path) -> None:
    root = tree(tmp_path, Segment((-0.487528344671, 1.5), text="early"), Segment((1, 2)))
    record, rows = prepared(root)
    row = rows[f"{TRAIN}[0]"]
    assert (row["status"], row["text"], heard(row)) == ("ok", "early", [0, 0, 1])
    assert "1 segment begins before the recording and is taken from 0 s" in said(record)


def test_segments_may_overlap(tmp_path: Path) -> None:
    root = tree(tmp_path, Segment((0, 2), text="a"), Segment((0.5, 1.5), text="b"), Segment((0.5, 1.5), text="b"))
    _, rows = prepared(root)
    assert [heard(rows[f"{TRAIN}[{k}]"]) for k in range(3)] == [[0, 0, 1, 1], [0, 1], [0, 1]]
    assert [rows[f"{TRAIN}[{k}]"]["text"] for k in range(3)] == ["a", "b", "b"]


@pytest.mark.parametrize("times", [(1.0, 1.0), (2.0, 1.5), (-0.4, -0.1)])
def test_a_segment_without_length_has_the_shortest_sound_from_its_start(tmp_path: Path, times: trees.Times) -> None:
    root = tree(tmp_path, Segment(times))
    record, rows = prepared(root)
    row = rows[f"{TRAIN}[0]"]
    start = max(0.0, times[0])
    assert (row["status"], row["seconds"]) == ("zero_interval", pytest.approx(MoseiSpec().min_seconds))
    assert heard(row) == [int(start)]
    assert row["reason"].startswith(
        f"its end is not after its start at {start:.2f} s; the 0.4 s from there are read"
    )
    assert [problem.uid for problem in problem_table(record).problems] == [row["uid"]]
    text = MoseiSpec(modalities=("text",))
    assert prepared(root, text)[1][f"{TRAIN}[0]"]["status"] == "ok"


def test_segments_beyond_the_end_of_the_recording(tmp_path: Path) -> None:
    root = tree(tmp_path, Segment((3, 5)), Segment((9, 10)), Segment((1, 2)))
    _, rows = prepared(root)
    cut, beyond, whole = (rows[f"{TRAIN}[{k}]"] for k in range(3))
    assert (cut["status"], cut["seconds"], heard(cut)) == ("ok", pytest.approx(1), [3, 3])
    assert "the file ends 1.00 s before its end" in cut["reason"]
    assert (beyond["status"], beyond["audio"]) == ("no_audio", None)
    assert "the file ends before 9 s" in beyond["reason"]
    assert (whole["status"], whole["reason"]) == ("ok", "")


@pytest.mark.parametrize("video", [DASH, UNDERSCORES, NUMBER])
def test_ids_are_text_whatever_they_look_like(tmp_path: Path, video: str) -> None:
    found = {video: [Segment((1, 2), text="a ___ b ____ c")]} | {DEV: [Segment((0, 1))], TEST: [Segment((0, 1))]}
    record, rows = prepared(trees.write_tree(tmp_path / "raw", found))
    row = rows[f"{video}[0]"]
    assert (row["dialogue"], row["speaker"], row["split"]) == (video, video, "train")
    assert (row["text"], heard(row)) == ("a ___ b ____ c", [1, 1])
    assert "labelled videos of the official split: train 1 of 2249, dev 1 of 300, test 1 of 678" in said(record)


def test_videos_of_no_fold_are_left_out_and_counted(tmp_path: Path) -> None:
    found = trees.plain_segments() | {NOWHERE: [Segment((0, 1)), Segment((1, 2))]}
    record, rows = prepared(trees.write_tree(tmp_path / "raw", found))
    assert NOWHERE not in {row["dialogue"] for row in rows.values()}
    told = f"1 labelled video with 2 segments left out, as the official split has no place for it: {NOWHERE}"
    assert told in said(record)
    assert record.rows == {"train": 3, "dev": 1, "test": 2}


def test_no_video_of_the_split_is_an_error(tmp_path: Path) -> None:
    root = trees.write_tree(tmp_path / "raw", {NOWHERE: [Segment((0, 1))], "mine": [Segment((0, 1))]})
    with pytest.raises(
        CorpusError, match=r"2 labelled videos, none of them in .* official split; .* type: manifest"
    ):
        prepared(root)


def test_labels_without_a_recording_and_recordings_without_labels(tmp_path: Path) -> None:
    root = tree(tmp_path)
    trees.sound_path(root, TRAIN).unlink()
    trees.write_sound(trees.sound_path(root, DASH))
    record, rows = prepared(root)
    assert rows[f"{TRAIN}[0]"]["status"] == "missing_media"
    assert rows[f"{TRAIN}[0]"]["reason"] == f"there is no file {TRAIN}.wav"
    assert record.info["extra_clips"] == [DASH]
    assert problem_table(record).statuses == {"missing_media": 1}


def test_without_a_wav_the_sound_is_the_videos(tmp_path: Path) -> None:
    root = tree(tmp_path)
    trees.sound_path(root, TRAIN).unlink()
    trees.write_pictures(trees.video_path(root, TRAIN), sound=4.0)
    record, rows = prepared(root)
    row = rows[f"{TRAIN}[0]"]
    assert (row["status"], row["seconds"], row["images"]) == ("ok", pytest.approx(1, abs=0.05), None)
    assert f"the sound of 1 video is that of the video file: {TRAIN}" in said(record)


def test_pictures_are_cut_at_the_same_seconds_as_sound(tmp_path: Path) -> None:
    root = tree(tmp_path, Segment((2, 3.6)), Segment((0, 1)))
    for video in trees.plain_segments():
        trees.write_pictures(trees.video_path(root, video))
    _, rows = prepared(root, SEEN)
    assert seen(rows[f"{TRAIN}[0]"]) == [2] * 5 + [3] * 3  # five pictures a second
    assert heard(rows[f"{TRAIN}[0]"]) == [2, 2, 3]
    assert seen(rows[f"{TRAIN}[1]"]) == [0] * 5
    assert {row["status"] for row in rows.values()} == {"ok"}


def test_a_corrupt_or_absent_video_leaves_the_sound(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for video in (NUMBER, TRAIN, TEST):
        trees.write_pictures(trees.video_path(root, video))
    trees.video_path(root, TRAIN).write_bytes(b"moov lost")
    _, rows = prepared(root, SEEN)
    corrupt, absent = rows[f"{TRAIN}[0]"], rows[f"{DEV}[0]"]
    assert corrupt["images"] is None and corrupt["audio"] and corrupt["status"] == "ok"
    assert corrupt["reason"].startswith("pictures: InvalidDataError")
    assert absent["images"] is None and absent["audio"] and absent["status"] == "ok"
    assert absent["reason"] == f"pictures: there is no file {DEV}.mp4"
    assert len(rows[f"{TEST}[0]"]["images"]) == 5


def test_segments_are_read_whole_where_there_is_nothing_else(tmp_path: Path) -> None:
    root = tree(tmp_path)
    trees.sound_path(root, NUMBER).unlink()
    folder = root / "Raw" / "Audio" / "Segmented" / "Combined" / "WAV_16000"
    trees.write_sound(folder / f"{NUMBER}_1.wav", 2)
    trees.write_sound(folder / f"{TRAIN}_0.wav", 3)  # not read: the whole recording is there
    _, rows = prepared(root)
    assert heard(rows[f"{NUMBER}[1]"]) == [0, 0, 1, 1]
    assert rows[f"{NUMBER}[0]"]["status"] == "missing_media"
    assert heard(rows[f"{TRAIN}[0]"]) == [1, 1]


def test_sound_and_pictures_are_of_one_cut(tmp_path: Path) -> None:
    """Where the pictures are there as a segment alone, the sound is the segment's too."""
    root = tree(tmp_path)
    for video in (NUMBER, DEV, TEST):
        trees.write_pictures(trees.video_path(root, video))
    trees.write_pictures(trees.video_path(root, f"{TRAIN}_0", "Segmented"), 2, sound=2.0)
    _, rows = prepared(root, SEEN)
    assert seen(rows[f"{TRAIN}[0]"]) == [0] * 5 + [1] * 5
    assert rows[f"{TRAIN}[0]"]["seconds"] == pytest.approx(2, abs=0.05)


def test_of_variants_the_common_one_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path)
    other = root / "Raw" / "Audio" / "Full" / "WAV_44100" / f"{TRAIN}.wav"
    trees.write_sound(other, 1)
    assert find_layout(root, SOUND).sound[TRAIN, None] == trees.sound_path(root, TRAIN)
    record, rows = prepared(root)
    assert heard(rows[f"{TRAIN}[0]"]) == [1, 1]
    assert any(told.startswith("1 recording lies beside another one of the same video") for told in said(record))


def test_the_folders_are_found_from_a_relative_root_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path)
    trees.write_sound(root / "Segmented" / f"{TRAIN}_0.wav", 2)
    monkeypatch.chdir(root)
    assert (f"{TRAIN}_0", None) not in find_layout(Path(), SOUND).sound


@pytest.mark.parametrize(
    ("gone", "modalities", "message"),
    [
        ("labels", ("audio",), r"no labels of CMU-MOSEI: neither CMU_MOSEI_Labels\.csd nor CSV files"),
        ("words", ("audio", "text"), r'no words: neither .* modalities \["audio"\] needs none'),
        ("sound", ("audio",), r'no recordings, as .* modalities \["text"\] needs none'),
        ("pictures", ("audio", "visual"), r"no pictures, as .* leave visual out"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, modalities: Sequence[Modality], message: str) -> None:
    root = tree(tmp_path)
    for path in {
        "labels": [root / trees.LABELS],
        "words": list(root.rglob("*.txt")),
        "sound": list(root.rglob("*.wav")),
        "pictures": [],
    }[gone]:
        path.unlink()
    with pytest.raises(CorpusError, match=message):
        MoseiImporter().source_digest(MoseiSpec(modalities=tuple(modalities)), root)


def test_a_readme_is_no_transcript(tmp_path: Path) -> None:
    root = tree(tmp_path)
    for path in root.rglob("*.txt"):
        path.unlink()
    (root / "README.txt").write_text("Raw/Transcript is another archive")
    with pytest.raises(CorpusError, match="neither 1 text file nor words in time say what is said in any"):
        read_rows(find_layout(root, ("audio", "text")), MoseiSpec())
    assert read_rows(find_layout(root, SOUND), MoseiSpec(modalities=SOUND)).rows


def test_a_root_is_asked_for() -> None:
    with pytest.raises(CorpusError, match=r"--root, or set ORCH_CORPORA__MOSEI"):
        find_layout(None, SOUND)


def test_the_fingerprint_is_of_what_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path)
    text = MoseiSpec(modalities=("text",))
    before = {spec: corpus_fingerprint(spec, root) for spec in (MoseiSpec(), text)}
    moved = root.rename(tmp_path / "moved")
    assert corpus_fingerprint(MoseiSpec(), moved) == before[MoseiSpec()]
    trees.write_sound(trees.sound_path(moved, TRAIN), 3)
    assert corpus_fingerprint(text, moved) == before[text]
    assert corpus_fingerprint(MoseiSpec(), moved) != before[MoseiSpec()]
    trees.write_transcript(moved, TRAIN, [(0, 1.0, 2.0, "of another text")])
    assert corpus_fingerprint(text, moved) != before[text]


def test_the_fingerprint_takes_no_heavy_package(tmp_path: Path) -> None:
    root = tree(tmp_path)
    code = (
        "import sys; from pathlib import Path; from trainables.importers.mosei import MoseiImporter; "
        "from trainables.spec import MoseiSpec; "
        f"MoseiImporter().source_digest(MoseiSpec(), Path({str(root)!r})); "
        "print(sorted({'h5py', 'numpy', 'av', 'pyarrow', 'torch'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        UserError, match=r"Labels\.csd: .* h5py, which is not installed: pip install 'orch\[hdf5\]'"
    ):
        prepared(root)


def test_prepare_ends_with_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)
    root = tree(tmp_path, Segment((0, 1)), Segment((1, 1)))
    found = orch("prepare", "mosei", "--root", str(root))
    assert found.code == 0, found.err
    shown = " ".join(found.out.split())
    assert "labelled videos of the official split: train 2 of 2249, dev 1 of 300, test 1 of 678" in shown
    assert f"{TRAIN}[1] zero_interval" in shown
    assert "by status: zero_interval 1" in shown


def test_a_recording_that_is_a_stub_counts_once_whatever_its_segments(tmp_path: Path) -> None:
    root = tree(tmp_path)
    write_stub(trees.sound_path(root, TEST))
    record, rows = prepared(root)
    assert {uid: row["reason"] for uid, row in rows.items() if row["status"] != "ok"} == {
        f"{TEST}[0]": STUB, f"{TEST}[1]": STUB,
    }  # fmt: skip
    assert [told for told in said(record) if "git lfs pull" in told] == [explain(1, 4, root)]
