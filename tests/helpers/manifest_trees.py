"""Small manifests: CSV or Parquet of chosen rows, beside tones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.helpers.sounds import write_sound

Row = dict[str, Any]
SPLITS = ("train", "train", "train", "train", "dev", "dev", "test", "test")


def row(number: int, **changes: Any) -> Row:
    """A faultless row: eight of them have every split and two labels; `None` takes a column out."""
    values = {
        "audio": f"clips/{number}.wav",
        "text": f"Line {number}.",
        "label": ("calm", "cross")[number % 2],
        "split": SPLITS[number % len(SPLITS)],
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def rows(count: int = 8, **changes: Any) -> list[Row]:
    return [row(number, **changes) for number in range(count)]


def write_csv(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(dict.fromkeys(name for line in lines for name in line)))
        writer.writeheader()
        writer.writerows(lines)
    return path


def write_parquet(path: Path, lines: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(name for line in lines for name in line)
    pq.write_table(pa.table({name: [line.get(name) for line in lines] for name in names}), path)
    return path


def write_clips(folder: Path, count: int = 8, seconds: float = 0.5) -> None:
    for number in range(count):
        write_sound(folder / "clips" / f"{number}.wav", seconds, 200 + 10 * number)


def write_tree(folder: Path, lines: Sequence[Mapping[str, Any]] | None = None) -> Path:
    """`folder/manifest.csv` and eight tones of half a second."""
    write_clips(folder)
    write_csv(folder / "manifest.csv", rows() if lines is None else lines)
    return folder
