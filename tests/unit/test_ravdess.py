"""RAVDESS's tree: names, what is not speech, the tree that is there twice, and folds by actor."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.helpers.crema_d_trees import write_stub
from tests.helpers.ravdess_trees import name, names, write_tree
from tests.helpers.sounds import RATE, write_sound
from tests.helpers.takes import write_take
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.lfs import STUB, explain
from trainables.importers.ravdess import EMOTIONS, RavdessImporter, find_layout
from trainables.prepare import prepare, problem_table
from trainables.spec import RavdessSpec
from trainables.storage import Storage


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: RavdessSpec | None = None) -> tuple[Record, dict[str, dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec or RavdessSpec(), root, 1, ignore)
    return record, {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}


def test_a_name_says_emotion_statement_and_actor(tmp_path: Path) -> None:
    emotions = range(1, 9)
    record, rows = prepared(write_tree(tmp_path / "raw", [*names(range(1, 6), emotions), name(24, 8, statement=2)]))
    assert record.rows == {"all": 41}
    assert [rows[name(1, emotion)]["label"] for emotion in emotions] == list(EMOTIONS) == record.info["labels"]
    last = rows[name(24, 8, statement=2)]
    assert (last["speaker"], last["label"], last["text"]) == ("24", "surprised", "Dogs are sitting by the door")
    assert record.info["genders"] == {
        "01": "male", "02": "female", "03": "male", "04": "female", "05": "male", "24": "female",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "tested", "dev"),
    [
        ("five", ["01", "06", "11", "16", "21"], ["02", "07", "12", "17", "22"]),
        ("actor", ["01"], ["02"]),
    ],
)
def test_folds_are_of_actors_in_their_order(
    protocol: str, tested: list[str], dev: list[str], tmp_path: Path
) -> None:
    spec = RavdessSpec.model_validate({"protocol": protocol})
    record, rows = prepared(write_tree(tmp_path / "raw", names()), spec)
    first = {
        split: sorted({r["speaker"] for r in rows.values() if r["folds"][0] == split}) for split in ("dev", "test")
    }
    assert first == {"test": tested, "dev": dev}
    assert {len(row["folds"]) for row in rows.values()} == {spec.fold_count}
    held_out = [r["speaker"] for r in rows.values() for split in r["folds"] if split == "test"]
    assert sorted(held_out) == sorted(r["speaker"] for r in rows.values())
    assert record.info["speaker_disjoint"] == ["train", "dev", "test"]


def test_songs_and_videos_are_counted_and_left_out(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_sound(root / "Actor_01" / f"{name(1, channel=2)}.wav")
    for modality in (1, 2):
        (root / "Actor_01" / f"{name(1, modality=modality)}.mp4").touch()
    (root / "readme.txt").touch()
    record, rows = prepared(root)
    assert len(rows) == 48
    assert [remark.reason for remark in problem_table(record).remarks] == [
        "1 song and 2 videos left out: audio of speech is what is read"
    ]


def test_songs_alone_are_not_the_corpus(tmp_path: Path) -> None:
    write_sound(tmp_path / f"{name(1, channel=2)}.wav")
    told = f"{tmp_path}: no RAVDESS speech, as 03-01-06-01-02-01-12.wav (or .flac), below it; found 1 song"
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}$"):
        find_layout(tmp_path)


def test_the_tree_that_is_there_twice_is_read_once(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    shutil.copytree(root, tmp_path / "inner")
    (tmp_path / "inner").rename(root / "audio_speech_actors_01-24")
    record, rows = prepared(root)
    assert len(rows) == 48
    assert problem_table(record).remarks[0].reason.startswith("48 files are there twice, byte for byte")


def test_one_name_with_two_contents_is_an_error(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_sound(root / "again" / f"{name(1)}.wav", hertz=999)
    with pytest.raises(CorpusError, match="have one name and differ; keep the one to be read"):
        prepared(root)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("03-01-09-01-01-01-01", "unknown emotion 09; RAVDESS's are 01 to 08"),
        ("03-01-01-01-03-01-01", "unknown statement 03; RAVDESS's are 01 to 02"),
        ("03-01-01-01-01-01-25", "unknown actor 25; RAVDESS's are 01 to 24"),
        ("03-01-00-01-01-01-01", "unknown emotion 00"),
        ("03-01-01-01-01-01", "not a name of RAVDESS's"),
        ("take 2", "not a name of RAVDESS's"),
    ],
)
def test_a_name_that_is_none_is_named(file: str, told: str, tmp_path: Path) -> None:
    write_tree(tmp_path, names())
    path = write_sound(tmp_path / f"{file}.wav")
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}: {told}')}"):
        find_layout(tmp_path)


def test_two_channels_are_mixed(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_sound(root / "Actor_01" / f"{name(1)}.wav", seconds=0.5, channels=2)
    _, rows = prepared(root)
    samples, rate = soundfile.read(io.BytesIO(rows[name(1)]["audio"]))
    assert (samples.shape, rate) == ((RATE // 2,), RATE)
    assert np.sqrt(2 * np.mean(samples**2)) == pytest.approx(0.25, rel=0.01)


def test_too_few_actors_are_told(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(range(1, 5)))
    with pytest.raises(
        CorpusError, match=r"RAVDESS, protocol five, by actor: 5 folds of 4 groups \(01, 02, 03, 04\)"
    ):
        prepared(root)
    with pytest.raises(CorpusError, match="ORCH_CORPORA__RAVDESS"):
        find_layout(None)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_sound(root / "Actor_01" / f"{name(1)}.wav", 0.7),
        lambda root: (root / "Actor_01" / f"{name(1)}.wav").unlink(),
    ],
    ids=["another length", "one less"],
)
def test_the_digest_is_of_the_clips_wherever_they_lie(change: Callable[[Path], object], tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    first = RavdessImporter().source_digest(RavdessSpec(), root)
    moved = shutil.copytree(root, tmp_path / "moved" / "inner")
    write_sound(moved / f"{name(1, channel=2)}.wav")  # a song is nothing to the rows
    assert RavdessImporter().source_digest(RavdessSpec(), tmp_path / "moved") == first
    change(moved)
    assert RavdessImporter().source_digest(RavdessSpec(), moved) != first


def takes(root: Path, actors: range, modality: int, *, sound: bool = True) -> Path:
    """A video of two emotions an actor, each of a grey of its own."""
    for number, file in enumerate(names(actors)):
        path = root / f"Actor_{file[-2:]}" / f"{modality:02d}{file[2:]}.mp4"
        write_take(path, 0.5, 200 + number, grey=20 + 10 * number, sound=sound)
    return root


def test_with_pictures_the_videos_with_sound_are_read(tmp_path: Path) -> None:
    actors = range(1, 6)
    root = takes(write_tree(tmp_path / "raw", names(actors)), actors, 1)
    takes(root, actors, 2, sound=False)
    write_take(root / "Actor_01" / f"{name(1, modality=1, channel=2)}.mp4")
    record, rows = prepared(root, RavdessSpec(modalities=("audio", "visual")))
    assert sorted(rows) == sorted(f"01{file[2:]}" for file in names(actors))
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert all(row["audio"] and len(row["images"]) == 3 for row in rows.values())
    assert {uid[6:8]: row["label"] for uid, row in rows.items()} == {"01": "neutral", "05": "angry"}
    assert len({row["audio"] for row in rows.values()}) == len(rows)
    told = "10 audio files and 11 videos left out: videos of speech with sound are what is read"
    assert [remark.reason for remark in problem_table(record).remarks] == [told]


def test_without_pictures_nothing_is_changed_by_the_videos(tmp_path: Path) -> None:
    actors = range(1, 6)
    root = write_tree(tmp_path / "raw", names(actors))
    before = RavdessImporter().source_digest(RavdessSpec(), root)
    _, alone = prepared(root)
    takes(root, actors, 1)
    assert RavdessImporter().source_digest(RavdessSpec(), root) == before
    shutil.rmtree(tmp_path / "store")
    _, beside = prepared(root)
    assert beside == alone


def test_pictures_alone_may_be_of_videos_without_sound(tmp_path: Path) -> None:
    root = takes(tmp_path / "raw", range(1, 5), 1)
    takes(root, range(3, 7), 2, sound=False)
    record, rows = prepared(root, RavdessSpec(modalities=("visual",)))
    assert {row["speaker"]: uid[:2] for uid, row in rows.items()} == {
        "01": "01", "02": "01", "03": "01", "04": "01", "05": "02", "06": "02",
    }  # fmt: skip
    assert {(row["status"], row["audio"]) for row in rows.values()} == {("ok", None)}
    told = "4 videos left out: one video of each spoken sentence is what is read"
    assert [remark.reason for remark in problem_table(record).remarks] == [told]


def test_sound_is_not_looked_for_in_videos_without_it(tmp_path: Path) -> None:
    root = takes(tmp_path / "raw", range(1, 6), 2, sound=False)
    told = f"{root}: no RAVDESS speech, as 01-01-06-01-02-01-12.mp4, below it; found 10 videos"
    with pytest.raises(CorpusError, match=f"^{re.escape(told)}$"):
        find_layout(root, ("audio", "visual"))
    assert len(find_layout(root, ("visual",)).clips.of) == 10


def test_videos_that_are_there_twice_are_read_once(tmp_path: Path) -> None:
    root = takes(tmp_path / "raw", range(1, 6), 1)
    shutil.copytree(root / "Actor_01", root / "Video_Speech_Actor_01" / "Actor_01")
    record, rows = prepared(root, RavdessSpec(modalities=("audio", "visual")))
    assert len(rows) == 10
    assert problem_table(record).remarks[0].reason.startswith("2 files are there twice, byte for byte")


def test_a_video_with_a_name_that_is_none_is_named_where_videos_are_read(tmp_path: Path) -> None:
    root = takes(tmp_path / "raw", range(1, 6), 1)
    path = write_take(root / "01-01-09-01-01-01-01.mp4")
    with pytest.raises(CorpusError, match=f"^{re.escape(f'{path}: unknown emotion 09')}"):
        find_layout(root, ("visual",))


def test_a_few_stubs_are_rows_and_explained_once(tmp_path: Path) -> None:
    files = names(range(1, 6))
    root = write_tree(tmp_path / "raw", files)
    write_stub(root / "Actor_01" / f"{files[0]}.wav")
    record, rows = prepared(root)
    assert {uid: row["reason"] for uid, row in rows.items() if row["status"] != "ok"} == {files[0]: STUB}
    assert [said.reason for said in problem_table(record).remarks] == [explain(1, 10, root)]
