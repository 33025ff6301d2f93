"""Where a CMU-MOSEI tree keeps its labels, its words and its recordings, and which recording a segment is cut from.

A segment is cut from the whole recording where there is one: segments that the release cut itself are broken or
black in known cases (issues 142, 165 and 244 of the SDK). Where a video has no wav, the sound is that of its mp4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.files import blocks, plural, walk
from trainables.importers.mosei_files import Found, Name, sort_files
from trainables.spec.base import Modality

LABELS, WORDS = "CMU_MOSEI_Labels.csd", "CMU_MOSEI_TimestampedWords.csd"


@dataclass(frozen=True)
class Media:
    """What a row is read from. `whole`: a recording from which the segment is to be cut."""

    sound: Path | None
    pictures: Path | None
    whole: bool


@dataclass(frozen=True)
class Layout:
    root: Path
    labels: Path | None
    """The .csd file; without it `ratings` has the labels."""
    words: Path | None
    ratings: Sequence[Path]
    transcripts: Mapping[str, Path]
    """By video."""
    sound: Mapping[Name, Path] = field(default_factory=dict)
    """Empty, as `pictures`, where the spec does not read it."""
    pictures: Mapping[Name, Path] = field(default_factory=dict)
    variants: int = 0
    """Recordings beside another one of the same video."""

    @property
    def videos(self) -> set[str]:
        """Those of which there is a recording."""
        return {video for video, _ in (*self.sound, *self.pictures)}

    def media(self, video: str, clip: int | None, modalities: Collection[Modality]) -> Media:
        """The whole recording, unless it lacks a modality that the segment's own file has."""
        options = [self._media((video, part)) for part in dict.fromkeys((None, clip))]
        for option in options:
            if ("audio" not in modalities or option.sound) and ("visual" not in modalities or option.pictures):
                return option
        return next((option for option in options if option.sound or option.pictures), options[0])

    def _media(self, name: Name) -> Media:
        pictures = self.pictures.get(name)
        return Media(self.sound.get(name, pictures), pictures, whole=name[1] is None)

    def digest(self) -> str:
        """Over the annotations' bytes and the recordings' names and sizes; not over where they lie."""
        total = hashlib.sha256()
        annotations = [self.labels] if self.labels else self.ratings
        for path in (*annotations, *([self.words] if self.words else ())):
            total.update(f"{path.name} ".encode())
            total.update(hashlib.sha256(b"".join(blocks(path))).digest())
        for video, path in sorted(self.transcripts.items()):
            total.update(f"{video} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        for kind, files in (("sound", self.sound), ("pictures", self.pictures)):
            for path in sorted(files.values(), key=lambda path: path.name):
                total.update(f"{kind} {path.name} {path.stat().st_size}\n".encode())
        return total.hexdigest()[:16]

    def remarks(self) -> Iterator[str]:
        if not self.labels:
            yield f"labels are the means of the raters in {plural(len(self.ratings), 'CSV file', 'CSV files')}"
        if self.variants:
            told = plural(self.variants, "recording lies", "recordings lie")
            yield f"{told} beside another one of the same video, which was read (WAV_16000 and Combined first)"


def find_layout(root: Path | None, modalities: Collection[Modality]) -> Layout:
    """CorpusError names what is missing or there twice; recordings are looked for where the spec reads them."""
    if root is None:
        raise CorpusError("CMU-MOSEI needs a folder: say where it lies with --root, or set ORCH_CORPORA__MOSEI")
    found = sort_files(walk(root, "CMU-MOSEI"), root)
    if not found.labels and not found.ratings:
        raise CorpusError(
            f"{root}: no labels of CMU-MOSEI: neither {LABELS} nor CSV files as in Raw/Labels, with Input.VIDEO_ID "
            "and Input.CLIP in their header, below it"
        )
    if not found.transcripts.of and not found.words and "text" in modalities:
        raise CorpusError(
            f"{root}: no words: neither Raw/Transcript/Segmented/Combined/<video>.txt nor {WORDS} below it; "
            'modalities ["audio"] needs none'
        )
    _check_media(found, root, modalities)
    sound, pictures = _used(found, modalities)
    return Layout(
        root=root,
        labels=_one(found.labels),
        words=_one(found.words),
        ratings=tuple(sorted(found.ratings, key=lambda path: path.name)),
        transcripts={video: path for (video, _), path in sorted(found.transcripts.of.items())},
        sound=sound,
        pictures=pictures,
        variants=(found.sound.others if sound else 0) + (found.pictures.others if pictures else 0),
    )


def _used(found: Found, modalities: Collection[Modality]) -> tuple[dict[Name, Path], dict[Name, Path]]:
    """The files of sound and of pictures that may be read; sound may be that of a file with pictures."""
    sound = found.sound.needed() if "audio" in modalities else {}
    pictures = found.pictures.needed() if {"audio", "visual"} & set(modalities) else {}
    if "visual" not in modalities:
        pictures = {name: path for name, path in pictures.items() if not {name, (name[0], None)} & sound.keys()}
    return sound, pictures


def _check_media(found: Found, root: Path, modalities: Collection[Modality]) -> None:
    sound, pictures = bool(found.sound.of), bool(found.pictures.of)
    if "visual" in modalities and not pictures:
        raise CorpusError(
            f"{root}: no pictures, as Raw/Videos/Full/Combined/<video>.mp4, below it; leave visual out of "
            "modalities"
        )
    if "audio" in modalities and not sound and not pictures:
        raise CorpusError(
            f"{root}: no recordings, as Raw/Audio/Full/WAV_16000/<video>.wav or "
            'Raw/Videos/Full/Combined/<video>.mp4, below it; modalities ["text"] needs none'
        )


def _one(paths: Sequence[Path]) -> Path | None:
    if len({path.stat().st_size for path in paths}) > 1:
        named = " and ".join(str(path) for path in paths[:2])
        raise CorpusError(f"{named} differ in size; keep the one to be read below the corpus's root")
    return paths[0] if paths else None
