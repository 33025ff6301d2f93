"""Small trees of CMU-MOSEI's shape: labels as .csd or the raters' CSV, transcripts, recordings that tell the time.

Ids are those of the official split, as no others are read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import soundfile

from tests.helpers.sounds import RATE, tone
from tests.helpers.videos import Picture, plain, write_video

TRAIN, DASH, UNDERSCORES, NUMBER = "19k6sEC7814", "-3g5yACwYnA", "FcAgbLF6__s", "100499"
"""All four are in train."""
DEV, TEST = "--qXJuDtHPw", "_0efYOjQYRc"
NUMBERS = {"100499": "train", "101851": "train", "101787": "dev", "100178": "test"}
NOWHERE = "-NFrJFQijFE"
"""Labelled by the release, and in none of the official lists."""
NAMES = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
LABELS, WORDS = "CMU_MOSEI_Labels.csd", "CMU_MOSEI_TimestampedWords.csd"
HERTZ = 300
"""Second n of a recording sounds at (n + 1) times that."""

Times = tuple[float, float]


@dataclass(frozen=True)
class Segment:
    times: Times
    scores: Sequence[float] = (0, 1, 0, 0, 0, 0, 0)
    """Of `NAMES`."""
    text: str = "so what"


def scores(**found: float) -> list[float]:
    """Of `NAMES`, 0 unless they are given."""
    assert set(found) <= set(NAMES)
    return [found.get(name, 0.0) for name in NAMES]


def write_csd(
    path: Path,
    root: str,
    data: Mapping[str, tuple[object, object]],
    names: Sequence[str] | None = None,
) -> Path:
    """`data`: (features, intervals) by video; `names` become the metadata `dimension names`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in data.items():
            file[f"{root}/data/{video}/features"] = features
            file[f"{root}/data/{video}/intervals"] = intervals
        if names is not None:
            file[f"{root}/metadata/dimension names"] = [json.dumps(list(names))]
    return path


def write_labels(root: Path, segments: Mapping[str, Sequence[Segment]]) -> Path:
    data = {
        video: (
            np.array([segment.scores for segment in of], np.float32),
            np.array([segment.times for segment in of], np.float32),
        )
        for video, of in segments.items()
    }
    return write_csd(root / LABELS, "All Labels", data)


def write_words(root: Path, words: Mapping[str, Sequence[tuple[object, float, float]]]) -> Path:
    """Bytes as the release has them, numbers, or strings."""
    data: dict[str, tuple[object, object]] = {}
    for video, of in words.items():
        said = [[word] for word, _, _ in of]
        kind = h5py.string_dtype() if isinstance(said[0][0], str) else None
        data[video] = (np.array(said, kind), np.array([times for _, *times in of]))
    return write_csd(root / WORDS, "words", data)


def write_transcript(root: Path, video: str, lines: Iterable[str | tuple[int, float, float, str]]) -> Path:
    """A tuple is (clip, start, end, text); a string stands as it is."""
    path = root / "Raw" / "Transcript" / "Segmented" / "Combined" / f"{video}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    told = (line if isinstance(line, str) else "___".join(map(str, (video, *line))) for line in lines)
    path.write_text("".join(f"{line}\n" for line in told), encoding="utf-8")
    return path


def write_ratings(root: Path, rows: Iterable[Mapping[str, object]], name: str = "5000_batch_raw.csv") -> Path:
    """Columns in another order than the .csd's, and among others."""
    answers = ("anger", "disgust", "fear", "happiness", "sadness", "sentiment", "surprise")
    header = ["HITId", "WorkerId", "Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{answer}" for answer in answers)]
    path = root / "Raw" / "Labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, header, restval="0")
        writer.writeheader()
        writer.writerows(rows)
    return path


def rating(video: str, clip: int, worker: str, **answers: object) -> dict[str, object]:
    found = {f"Answer.{answer}": value for answer, value in answers.items()}
    return {"WorkerId": worker, "Input.VIDEO_ID": video, "Input.CLIP": clip, **found}


def sound_path(root: Path, video: str) -> Path:
    return root / "Raw" / "Audio" / "Full" / "WAV_16000" / f"{video}.wav"


def video_path(root: Path, video: str, part: str = "Full") -> Path:
    return root / "Raw" / "Videos" / part / "Combined" / f"{video}.mp4"


def write_sound(path: Path, seconds: int = 4) -> Path:
    """Each second is a tone of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([tone(1.0, HERTZ * (n + 1)) for n in range(seconds)]), RATE)
    return path


def write_pictures(path: Path, seconds: int = 4, sound: float | None = None) -> Path:
    """Second n is of the grey 50 * n, at ten pictures a second."""
    shown: list[Picture] = [plain(50 * (n // 10)) for n in range(10 * seconds)]
    return write_video(path, shown, 10.0, sound=sound)


def write_tree(root: Path, segments: Mapping[str, Sequence[Segment]], seconds: int = 4) -> Path:
    """Labels, transcripts in the order of time, and a wav of every video."""
    write_labels(root, segments)
    for video, of in segments.items():
        ordered = sorted(of, key=lambda segment: segment.times)
        write_transcript(root, video, [(n, *segment.times, segment.text) for n, segment in enumerate(ordered)])
        write_sound(sound_path(root, video), seconds)
    return root


def pair(seed: int) -> list[Segment]:
    """Two segments without a fault; the emotions differ by `seed`."""
    first, second = NAMES[1 + seed % 6], NAMES[1 + (seed + 1) % 6]
    return [Segment((0, 1), scores(**{first: 1})), Segment((1, 2.5), scores(**{first: 1, second: 2}), "and then")]


def plain_segments() -> dict[str, list[Segment]]:
    """A faultless segment or two a video, of all splits."""
    return {
        NUMBER: [Segment((0.5, 1.5)), Segment((2, 3.5), scores(sad=1, fear=0.5), "and then")],
        TRAIN: [Segment((1, 2), scores(anger=2))],
        DEV: [Segment((0, 1), scores(surprise=0.5))],
        TEST: [Segment((0, 1), scores(disgust=1)), Segment((1, 2), scores(fear=1, sentiment=-2), "oh no")],
    }
