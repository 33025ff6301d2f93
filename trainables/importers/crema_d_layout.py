"""Where a tree of CREMA-D's keeps its clips and tables: the repository's folders, a flat one, or any others.

A clip is its name (`1001_DFA_ANG_XX`: actor, sentence, emotion, level), however many files it has: sound is
read from wav, else flac, mp3, or the sound track of its video; pictures from flv, else mp4. A Git-LFS stub is
passed over where another file of the clip is none.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers import lfs
from trainables.importers.crema_d_votes import full_name
from trainables.importers.files import Clip, Clips, differ, find_clips, plural, walk

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
"""By the code in the name; the labels in their order, whose first letters are the votes'."""
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
PICTURES = (".flv", ".mp4")
SOUND = (".wav", ".flac", ".mp3", *PICTURES)
TABLES = ("tabulatedVotes.csv", "summaryTable.csv", "VideoDemographics.csv")
_ACTORS = range(1001, 1092)
_LEVELS = ("LO", "MD", "HI", "XX")
_NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{2})")


@dataclass(frozen=True)
class Layout:
    """`sound` and `pictures` hold the file to be read of each clip, where they are read at all."""

    root: Path
    names: tuple[str, ...]
    sound: Clips | None
    pictures: Clips | None
    tables: Mapping[str, Path] = field(default_factory=dict)
    """By the names of `TABLES`, those that are there."""

    def digest(self) -> str:
        """Over the clips' names, the formats and sizes of what is read, and the tables' bytes."""
        total = hashlib.sha256("\n".join(self.names).encode())
        for clips in (self.sound, self.pictures):
            for name, clip in sorted(clips.of.items()) if clips else ():
                total.update(f"{name}{clip.path.suffix.lower()} {clip.size}\n".encode())
            total.update(b"\n")
        for table, path in sorted(self.tables.items()):
            total.update(f"{table} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()[:16]

    def remarks(self) -> Iterator[str]:
        for what, clips, usual in (("sound was", self.sound, ".wav"), ("pictures were", self.pictures, ".flv")):
            if clips is None:
                continue
            yield from clips.twice()
            formats = Counter(clip.path.suffix.lower() for clip in clips.of.values())
            if set(formats) != {usual}:
                told = ", ".join(f"{format_[1:]} ({count})" for format_, count in formats.most_common())
                yield f"{what} read from {told}"
        absent = len(self.names) - len(self.pictures.of) if self.pictures else 0
        if absent:
            yield f"{plural(absent, 'clip has', 'clips have')} no video"


def find_layout(root: Path | None, modalities: Collection[str]) -> Layout:
    """CorpusError where there is no clip, where all to be read are stubs, or naming the first strange name."""
    if root is None:
        raise CorpusError("CREMA-D needs a folder: say where it lies with --root, or set ORCH_CORPORA__CREMA_D")
    entries = list(walk(root, "CREMA-D"))
    sound = find_clips(entries, _is_crema_d, SOUND, _name)
    if not sound.of:
        raise CorpusError(f"{root}: no clips of CREMA-D, as AudioWAV/1001_DFA_ANG_XX.wav, below it")
    pictures = find_clips(entries, _is_crema_d, PICTURES, _name)
    if "visual" in modalities and not pictures.of:
        raise CorpusError(
            f"{root}: no videos of CREMA-D, as VideoFlash/1001_DFA_ANG_XX.flv (or .mp4), below it; without them "
            "leave visual out of the modalities"
        )
    read = Layout(
        root,
        tuple(sound.of),
        sound if "audio" in modalities else None,
        pictures if "visual" in modalities else None,
        _tables(Path(entry.path) for entry in entries),
    )
    for clips in (read.sound, read.pictures):
        if clips and all(clip.stub for clip in clips.of.values()):
            folder = next(iter(clips.of.values())).path.parent
            raise CorpusError(lfs.explain(len(clips.of), len(clips.of), folder))
    return read


def video_of(layout: Layout, name: str) -> Path | None:
    """The clip's video; where there is none, the file that is missing; None where pictures are not read."""
    if layout.pictures is None:
        return None
    clip: Clip | None = layout.pictures.of.get(name)
    return clip.path if clip else layout.root / f"{name}.flv"


def _name(path: Path) -> str:
    return full_name(path.stem)


def _is_crema_d(path: Path) -> bool:
    match = _NAME.fullmatch(_name(path))
    if match is None:
        raise CorpusError(
            f"{path}: not a name of CREMA-D's: actor, sentence, emotion and level, as in 1001_DFA_ANG_XX"
        )
    if int(match[1]) not in _ACTORS:
        raise CorpusError(f"{path}: unknown actor {match[1]}; CREMA-D's are {_ACTORS[0]} to {_ACTORS[-1]}")
    parts = (("sentence", match[2], SENTENCES), ("emotion", match[3], EMOTIONS), ("level", match[4], _LEVELS))
    for what, value, known in parts:
        if value not in known:
            raise CorpusError(f"{path}: unknown {what} {value}; CREMA-D's are {', '.join(known)}")
    return True


def _tables(paths: Iterator[Path]) -> dict[str, Path]:
    """The tables by name in whatever case; CorpusError where two of one name differ."""
    known, found = {table.lower(): table for table in TABLES}, dict[str, Path]()
    for path in sorted(paths, key=lambda path: (len(path.parts), path)):
        table = known.get(path.name.lower())
        if table and found.setdefault(table, path).read_bytes() != path.read_bytes():
            raise CorpusError(differ(found[table], path))
    return found
