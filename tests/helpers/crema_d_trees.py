"""Small trees of CREMA-D's shape: the repository's folders, its stubs, and its tables with their own headers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.helpers.sounds import write_sound
from tests.helpers.takes import write_take

FOLDERS = {".wav": "AudioWAV", ".mp3": "AudioMP3", ".flv": "VideoFlash"}
LETTERS = "ADFHNS"
_TABULATED = ("", *LETTERS, "fileName", "numResponses", "agreement", "emoVote", "meanEmoResp")
_SUMMARY = (
    "", "FileName", "VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel",
)  # fmt: skip

Counts = tuple[int, int, int, int, int, int]
"""Votes for A, D, F, H, N, S."""


def name(actor: int, emotion: str = "ANG", sentence: str = "DFA", level: str = "XX") -> str:
    return f"{actor}_{sentence}_{emotion}_{level}"


def names(actors: Iterable[int] = range(1001, 1007), emotions: Iterable[str] = ("ANG", "NEU")) -> list[str]:
    emotions = list(emotions)
    return [name(actor, emotion) for actor in actors for emotion in emotions]


def path_of(root: Path, clip: str, suffix: str = ".wav") -> Path:
    return root / FOLDERS[suffix] / f"{clip}{suffix}"


def write_tree(root: Path, clips: Iterable[str], suffixes: Iterable[str] = (".wav",)) -> Path:
    """Half a second of a tone, its own for each clip, and of a grey picture."""
    suffixes = list(suffixes)
    for number, clip in enumerate(clips):
        for suffix in suffixes:
            path = path_of(root, clip, suffix)
            if suffix == ".flv":
                write_take(path, 0.5, 200 + number, grey=20 + number)
            else:
                write_sound(path, 0.5, 200 + number)
    return root


def write_stub(path: Path, size: int = 73567) -> Path:
    """What a zip download has in the place of a file of so many bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize {size}\n")
    return path


def write_stubs(root: Path, clips: Iterable[str], suffixes: Iterable[str] = (".wav", ".mp3", ".flv")) -> Path:
    """The whole tree of a zip download."""
    suffixes = list(suffixes)
    for clip in clips:
        for suffix in suffixes:
            write_stub(path_of(root, clip, suffix))
    return root


def write_tabulated(
    root: Path, votes: Mapping[str, tuple[Counts, Counts, Counts]], newline: str = "\n", encoding: str = "utf-8"
) -> Path:
    """Votes of voice, face and both by the clip's name: all of a presentation, then the next."""
    rows = [
        [100_000 * query + number, *counts[query - 1], clip, sum(counts[query - 1]), 0.5, "N", 61.5]
        for query in (1, 2, 3)
        for number, (clip, counts) in enumerate(votes.items(), start=1)
    ]
    return _write(root / "processedResults" / "tabulatedVotes.csv", [_TABULATED, *rows], newline, encoding)


def write_summary(root: Path, votes: Mapping[str, tuple[str, str, str]]) -> Path:
    """The letters of most votes for voice, face and both, `A:D` for a tie."""
    rows = [
        [number, clip, voice, "69.1", face, "57:51.5", both, "64.78"]
        for number, (clip, (voice, face, both)) in enumerate(votes.items(), start=1)
    ]
    return _write(root / "processedResults" / "summaryTable.csv", [_SUMMARY, *rows])


def write_actors(root: Path, actors: Mapping[int, tuple[int, str]]) -> Path:
    """Age and sex by the actor's number."""
    rows = [[actor, age, sex, "Caucasian", "Not Hispanic"] for actor, (age, sex) in actors.items()]
    return _write(root / "VideoDemographics.csv", [("ActorID", "Age", "Sex", "Race", "Ethnicity"), *rows])


def _write(path: Path, rows: Iterable[Iterable[object]], newline: str = "\n", encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator=newline).writerows(rows)
    return path
