"""Small trees of MELD's shape: CSV files of chosen rows, clips of chosen sounds."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
HEADER = [
    "Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID",
    "Season", "Episode", "StartTime", "EndTime",
]  # fmt: skip
RATE = 48_000

Row = dict[str, str]


def row(dialogue: int, utterance: int, **changes: str) -> Row:
    """A faultless row; `changes` go by column name."""
    start = 100 * dialogue + 2 * utterance
    values = {
        "Sr No.": "1",
        "Utterance": f"Utterance {utterance} of dialogue {dialogue}.",
        "Speaker": "Joey",
        "Emotion": "neutral",
        "Sentiment": "neutral",
        "Dialogue_ID": str(dialogue),
        "Utterance_ID": str(utterance),
        "Season": "1",
        "Episode": str(1 + dialogue),
        "StartTime": f"00:{start // 60:02d}:{start % 60:02d},000",
        "EndTime": f"00:{start // 60:02d}:{start % 60 + 1:02d},000",
    }
    return values | changes


def write_csv(
    path: Path, rows: Sequence[Mapping[str, str]], encoding: str = "utf-8", header: Sequence[str] = HEADER
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as handle:
        writer = csv.DictWriter(handle, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_csvs(root: Path, rows: Mapping[str, Sequence[Row]] | None = None) -> Path:
    """The three CSV files at the top of `root`, one row each unless `rows` says otherwise."""
    for number, split in enumerate(FOLDERS):
        chosen = (rows or {}).get(split, [row(0, 0, Season=str(number + 1))])
        write_csv(root / f"{split}_sent_emo.csv", chosen)
    return root


def write_tree(root: Path, rows: Mapping[str, Sequence[Row]], seconds: float = 0.5) -> Path:
    """CSV files and a tone for every row, in the official folders."""
    write_csvs(root, rows)
    for split, folder in FOLDERS.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for values in rows.get(split, [row(0, 0)]):
            name = f"dia{values['Dialogue_ID']}_utt{values['Utterance_ID']}.mp4"
            write_clip(root / folder / name, tone(seconds)[None])
    return root


def tone(seconds: float, hertz: float = 440.0, level: float = 0.5) -> NDArray[np.float32]:
    """float32 [samples] at `RATE`."""
    time = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def write_clip(path: Path, channels: NDArray[np.float32], layout: str = "mono", codec: str = "aac") -> Path:
    """Encode [channels, samples] at `RATE`; the container goes by the file's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE)
        stream.layout = layout
        sample_format = "fltp" if codec == "aac" else "s16"
        resampler = av.AudioResampler(format=sample_format)
        for start in range(0, channels.shape[1], 1024):
            block = np.ascontiguousarray(channels[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate = RATE
            frame.pts = start
            for part in resampler.resample(frame):
                container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def write_picture(path: Path) -> Path:
    """A clip with a video stream and no audio stream."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for _ in range(5):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
