"""Which of the files below CMU-MOSEI's root is what, by their names and those of their folders alone.

Below a folder `Segmented` a recording is one segment, `<video>_<clip>.mp4`; elsewhere it is a whole one,
`<video>.wav` or `.mp4`. Of several that mean the same, one in `WAV_16000` or `Combined` is taken before others, as
the release has its recordings by those who collected them, too, and in other rates.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from trainables.errors import CorpusError

SOUND = (".wav", ".flac")
PICTURES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".flv")
RATING = ("Input.VIDEO_ID", "Input.CLIP")
"""What the header of a CSV file of ratings has; other CSV files are passed over."""
_PREFERRED = frozenset(("wav_16000", "combined"))
_SEGMENT = re.compile(r"(.+)_(\d+)")

Name = tuple[str, int | None]
"""A video, and a clip of it where the file is one segment."""
Rank = tuple[bool, int, int, str]


@dataclass
class Files:
    """Of one kind: the file of each name, and how many others mean the same."""

    of: dict[Name, Path] = field(default_factory=dict)
    others: int = 0
    _ranks: dict[Name, Rank] = field(default_factory=dict)

    def add(self, name: Name, rank: Rank, path: str) -> None:
        kept = self._ranks.setdefault(name, rank)
        self.others += name in self.of
        if name not in self.of or rank < kept:
            self._ranks[name], self.of[name] = rank, Path(path)

    def needed(self) -> dict[Name, Path]:
        """Without the segments of videos that are there whole."""
        whole = {video for video, clip in self.of if clip is None}
        return {name: path for name, path in self.of.items() if name[1] is None or name[0] not in whole}


@dataclass
class Found:
    labels: list[Path] = field(default_factory=list)
    words: list[Path] = field(default_factory=list)
    ratings: list[Path] = field(default_factory=list)
    transcripts: Files = field(default_factory=Files)
    sound: Files = field(default_factory=Files)
    pictures: Files = field(default_factory=Files)


def sort_files(entries: Iterable[os.DirEntry[str]], root: Path) -> Found:
    """CorpusError where a CSV file cannot be read."""
    found = Found()
    for entry in entries:
        stem, dot, suffix = entry.name.rpartition(".")
        folders = _folders(entry.path[: -len(entry.name)], root)
        match dot + suffix.lower():
            case ".csd":
                _add_csd(found, stem.lower(), Path(entry.path))
            case ".csv" if _is_rating(Path(entry.path)):
                found.ratings.append(Path(entry.path))
            case ".txt" if "full" not in folders:
                found.transcripts.add((stem, None), _rank(folders, 0, entry.path), entry.path)
            case kind if kind in SOUND + PICTURES:
                _add_recording(found, stem, kind, folders, entry.path)
    return found


def _add_csd(found: Found, stem: str, path: Path) -> None:
    if stem.endswith("labels") or stem.endswith("labelsemotions"):
        found.labels.append(path)
    elif stem.endswith("timestampedwords"):
        found.words.append(path)


def _add_recording(found: Found, stem: str, suffix: str, folders: tuple[str, ...], path: str) -> None:
    name: Name = (stem, None)
    if any(folder.startswith("segment") for folder in folders):
        parts = _SEGMENT.fullmatch(stem)
        if parts is None:
            return
        name = (parts[1], int(parts[2]))
    if suffix in SOUND:
        found.sound.add(name, _rank(folders, SOUND.index(suffix), path), path)
    else:
        found.pictures.add(name, _rank(folders, PICTURES.index(suffix), path), path)


def _rank(folders: tuple[str, ...], order: int, path: str) -> Rank:
    return not _PREFERRED & set(folders), order, len(folders), path


@cache
def _folders(path: str, root: Path) -> tuple[str, ...]:
    return tuple(part.lower() for part in Path(path).relative_to(root).parts)


def _is_rating(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return set(RATING) <= {name.strip() for name in next(csv.reader(file), [])}
    except csv.Error:
        return False
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
