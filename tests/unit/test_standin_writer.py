"""The stand-in's tree where nothing is spoken: MELD's three CSV files, and clips of pictures alone."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trainables.spec import StandInSpec
from trainables.standin import writer
from trainables.standin.clips import planes, write_clip
from trainables.standin.faces import SIZE
from trainables.standin.films import RATE, Film
from trainables.standin.rules import Line, plan
from trainables.standin.writer import FOLDERS, HEADER, Spoken, write_tree

SEEN = StandInSpec(utterances=24, modalities=("text", "visual"))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Spoken]]:
    """The tree of SEEN by one process after another, and what came of its lines."""
    folder = tmp_path_factory.mktemp("seen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "BLOCK", 8)
        return folder, list(write_tree(SEEN, folder, workers=1))


def place(line: Line) -> str:
    return f"{FOLDERS[line.split]}/dia{line.dialogue}_utt{line.turn}.mp4"


def pictures(path: Path) -> NDArray[np.float64]:
    """RGB [pictures, height, width, 3] as a reader gets them; they are evenly spaced from 0 on."""
    with av.open(str(path)) as clip:
        assert clip.streams.video[0].average_rate == RATE
        frames = list(clip.decode(video=0))
    assert [frame.time for frame in frames] == pytest.approx([number / RATE for number in range(len(frames))])
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]).astype(np.float64)


def test_text_alone_writes_the_csv_files_and_no_clip(tmp_path: Path) -> None:
    spec = StandInSpec(utterances=120, modalities=("text",))
    said = list(write_tree(spec, tmp_path, workers=1))
    lines = plan(spec)
    assert [one.uid for one in said] == [line.uid for line in lines]
    assert not list(tmp_path.rglob("*.mp4"))
    for split in ("train", "dev", "test"):
        with (tmp_path / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        own = [line for line in lines if line.split == split]
        assert tuple(rows[0]) == HEADER
        assert [row["Utterance"] for row in rows] == [line.text for line in own]
        assert [row["Emotion"] for row in rows] == [line.label for line in own]
        assert (rows[1]["StartTime"], rows[1]["EndTime"]) == ("00:00:02,000", "00:00:04,000")
        assert len({(row["Season"], row["Episode"], row["StartTime"]) for row in rows}) == len(rows)


def test_pictures_alone_are_clips_without_sound(seen: tuple[Path, list[Spoken]]) -> None:
    (folder, said), lines = seen, plan(SEEN)
    assert [one.uid for one in said] == [line.uid for line in lines]
    assert not any(one.words or one.phones for one in said)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.mp4")) == sorted(map(place, lines))
    with av.open(str(folder / place(lines[0]))) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]


def test_a_clip_holds_the_film_of_its_line(seen: tuple[Path, list[Spoken]]) -> None:
    for line in plan(SEEN)[:6]:
        drawn = np.stack([np.asarray(face, dtype=np.float64) for face in Film.of(line)])
        read = pictures(seen[0] / place(line))
        assert read.shape == drawn.shape == (len(Film.of(line)), SIZE, SIZE, 3)
        assert np.abs(read - drawn).mean() < 6


def test_the_bytes_do_not_depend_on_the_workers(
    seen: tuple[Path, list[Spoken]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "BLOCK", 8)
    list(write_tree(SEEN, tmp_path, workers=3))
    for line in plan(SEEN):
        one, three = ((folder / place(line)).read_bytes() for folder in (seen[0], tmp_path))
        assert one == three


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 40, 40), (20, 180, 90), (30, 60, 220)])
def test_colours_come_back(colour: tuple[int, int, int], tmp_path: Path) -> None:
    write_clip(tmp_path / "one.mp4", None, [Image.new("RGB", (SIZE, SIZE), colour)] * 3)
    assert pictures(tmp_path / "one.mp4").mean(axis=(0, 1, 2)) == pytest.approx(colour, abs=5)


def test_planes_by_hand() -> None:
    """White is 235 of 16 to 235, and grey has both colours in the middle, 128 (BT.601)."""
    picture = Image.new("RGB", (4, 2), (255, 255, 255))
    picture.putpixel((0, 0), (0, 0, 0))
    assert planes(picture).tolist() == [[16, 235, 235, 235], [235, 235, 235, 235], [128, 128, 128, 128]]


def test_the_csv_files_name_the_first_of_several_emotions(tmp_path: Path) -> None:
    spec = StandInSpec(utterances=120, modalities=("text",), several=True)
    list(write_tree(spec, tmp_path, workers=1))
    own = [line for line in plan(spec) if line.split == "train"]
    with (tmp_path / "train_sent_emo.csv").open(encoding="utf-8", newline="") as handle:
        read = [row["Emotion"] for row in csv.DictReader(handle)]
    assert read == [line.labels[0] for line in own]
    assert any(len(line.labels) == 2 for line in own)
