"""Small trees of RAVDESS's shape: tones under its names, in its folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.helpers.sounds import write_sound


def name(actor: int, emotion: int = 1, statement: int = 1, modality: int = 3, channel: int = 1) -> str:
    return f"{modality:02d}-{channel:02d}-{emotion:02d}-01-{statement:02d}-01-{actor:02d}"


def names(actors: Iterable[int] = range(1, 25), emotions: Iterable[int] = (1, 5)) -> list[str]:
    emotions = list(emotions)
    return [name(actor, emotion) for actor in actors for emotion in emotions]


def write_tree(root: Path, files: Iterable[str], suffix: str = "wav", seconds: float = 0.5) -> Path:
    for number, file in enumerate(files):
        write_sound(root / f"Actor_{file[-2:]}" / f"{file}.{suffix}", seconds, 200 + number)
    return root
