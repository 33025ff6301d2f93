"""RAVDESS speech (Livingstone & Russo, PLoS ONE 2018): files named as `03-01-06-01-02-01-12.wav`.

The numbers are modality, channel, emotion, intensity, statement, repetition and actor; odd actors are male. Read is
speech (01) alone: audio files (03), or, with `visual`, the videos with sound (01), where both are of one take.
Where pictures are read without sound, a video without it (02) serves as well, and is read of the takes that have no
other, so that the rows are the same wherever they can be. The rest is counted.

Files lie in whatever folders; where the tree of all actors is there twice, as in a known archive, it is read once.
Fold k of n tests the actors k + 1, k + 1 + n and so on; the next fold is dev.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from trainables.corpus import SPLITS
from trainables.errors import CorpusError
from trainables.folds import gather, next_is_dev
from trainables.importers.base import Prepared, Progress
from trainables.importers.files import SUFFIXES, Clips, find_clips, plural, walk
from trainables.spec import RavdessSpec

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
"""By their codes from 01."""
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
_CODES = {
    "modality": 3,
    "channel": 2,
    "emotion": len(EMOTIONS),
    "intensity": 2,
    "statement": len(STATEMENTS),
    "repetition": 2,
    "actor": 24,
}
"""What the numbers of a name say, in order, and the largest of each."""
_NAME = re.compile(r"\d\d(?:-\d\d){6}")
_SOUND_AND_PICTURES, _PICTURES_ONLY, _AUDIO_ONLY, _SPEECH = "01", "02", "03", "01"
_VIDEOS = (".mp4", ".avi", ".mov")
"""What is counted as a video; read are those of the corpus's own kind, the first."""


@dataclass(frozen=True)
class Kind:
    """What is read: the files of these formats and modalities (the name's first number), the first preferred."""

    told: str
    example: str
    suffixes: tuple[str, ...]
    modalities: tuple[str, ...]


_AUDIO = Kind("audio of speech is", "03-01-06-01-02-01-12.wav (or .flac)", SUFFIXES, (_AUDIO_ONLY,))
_VIDEO = Kind("videos of speech with sound are", "01-01-06-01-02-01-12.mp4", _VIDEOS[:1], (_SOUND_AND_PICTURES,))
_SILENT = Kind(
    "one video of each spoken sentence is",
    "01-01-06-01-02-01-12.mp4",
    _VIDEOS[:1],
    (_SOUND_AND_PICTURES, _PICTURES_ONLY),
)


@dataclass(frozen=True)
class Layout:
    clips: Clips
    others: dict[str, int]
    """What is left out, by kind."""
    kind: Kind = _AUDIO

    def digest(self) -> str:
        total = hashlib.sha256()
        for line in self.clips.digest_lines():
            total.update(line)
        return total.hexdigest()[:16]


class RavdessImporter:
    labels = EMOTIONS
    expected = {"all": 1440}
    stand_in = False

    def source_digest(self, spec: RavdessSpec, root: Path | None) -> str:
        return find_layout(root, spec.modalities).digest()

    def prepare(
        self, spec: RavdessSpec, root: Path | None, out: Path, workers: int, progress: Progress
    ) -> Prepared:
        from trainables.importers.rows import RawRow, write_rows

        layout = find_layout(root, spec.modalities)
        layout.clips.check_copies()
        actors = [name[-2:] for name in layout.clips.of]
        try:
            folds = next_is_dev(gather(actors, spec.fold_count), spec.fold_count)
        except ValueError as error:
            raise CorpusError(f"{root}: RAVDESS, protocol {spec.protocol}, by actor: {error}") from error
        rows = [
            RawRow(
                uid=name,
                split=splits[0],
                dialogue=name,  # acted sentence by sentence
                speaker=actor,
                label=EMOTIONS[int(name[6:8]) - 1],
                text=STATEMENTS[int(name[12:14]) - 1],
                clip=clip.path,
                folds=splits,
            )
            for (name, clip), actor, splits in zip(layout.clips.of.items(), actors, folds, strict=True)
        ]
        written = write_rows(rows, spec, out, workers, progress, remarks=_remarks(layout), root=root)
        facts = {
            "speaker_disjoint": list(SPLITS),
            "genders": {actor: "male" if int(actor) % 2 else "female" for actor in sorted(set(actors))},
        }
        return Prepared(written.rows, written.problems, {**written.info, **facts})


def find_layout(root: Path | None, modalities: Collection[str] = ("audio",)) -> Layout:
    """CorpusError where there is no clip, or naming the first whose name is none of RAVDESS's."""
    if root is None:
        raise CorpusError("RAVDESS needs a folder: say where it lies with --root, or set ORCH_CORPORA__RAVDESS")
    kind = _AUDIO if "visual" not in modalities else _VIDEO if "audio" in modalities else _SILENT
    entries = list(walk(root, "RAVDESS"))
    found = find_clips(entries, lambda path: _is_speech(path, kind), kind.suffixes)
    clips = _takes(found, kind)
    others = Counter(_others(entries, clips, kind))
    if not clips.of:
        told = f"; found {_told(others)}" if others else ""
        raise CorpusError(f"{root}: no RAVDESS speech, as {kind.example}, below it{told}")
    return Layout(clips, dict(sorted(others.items())), kind)


def _takes(clips: Clips, kind: Kind) -> Clips:
    """One clip a take: of several modalities the first."""
    first: dict[str, str] = {}
    for name in sorted(clips.of, key=lambda name: kind.modalities.index(name[:2])):
        first.setdefault(name[2:], name)
    kept = set(first.values())
    return replace(
        clips,
        of={name: clip for name, clip in clips.of.items() if name in kept},
        copies={name: paths for name, paths in clips.copies.items() if name in kept},
    )


def _is_speech(path: Path, kind: Kind) -> bool:
    """Whether it is to be read; CorpusError for a name that says nothing or a number beyond its largest."""
    if not _NAME.fullmatch(path.stem):
        raise CorpusError(f"{path}: not a name of RAVDESS's, seven numbers as in 03-01-06-01-02-01-12")
    numbers = path.stem.split("-")
    for (what, most), number in zip(_CODES.items(), numbers, strict=True):
        if not 1 <= int(number) <= most:
            raise CorpusError(f"{path}: unknown {what} {number}; RAVDESS's are 01 to {most:02d}")
    return numbers[0] in kind.modalities and numbers[1] == _SPEECH


def _others(entries: Iterable[os.DirEntry[str]], clips: Clips, kind: Kind) -> Iterator[str]:
    for entry in entries:
        path = Path(entry.name)
        suffix = path.suffix.lower()
        if not _NAME.fullmatch(path.stem) or (suffix in kind.suffixes and path.stem in clips.of):
            continue
        if suffix in _VIDEOS or path.stem[:2] != _AUDIO_ONLY:
            yield "video"
        elif path.stem[3:5] != _SPEECH:
            yield "song"
        elif suffix in SUFFIXES and kind is not _AUDIO:
            yield "audio file"


def _remarks(layout: Layout) -> Iterator[str]:
    yield from layout.clips.remarks()
    if layout.others:
        yield f"{_told(layout.others)} left out: {layout.kind.told} what is read"


def _told(others: dict[str, int] | Counter[str]) -> str:
    return " and ".join(plural(count, kind, f"{kind}s") for kind, count in others.items())
