"""Where a tree of IEMOCAP's shape keeps its texts, its sentence wavs and its forced alignments.

The five folders `Session1` to `Session5` may lie anywhere down to `DEPTH` folders below the root, in copies if they
hold the same. Files count by their whole names: AppleDouble stubs (`._*`), pickles and the other formats in the
sub-folders of `EmoEvaluation` fall out, and `Ses05M_script01_1b` is not `Ses05M_script01_1`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.iemocap_alignment import KINDS
from trainables.importers.iemocap_texts import DIALOGUE_NAME, TURN_NAME

DEPTH = 4
NUMBERS = "12345"
EVALUATION, TRANSCRIPTS, WAVS = "dialog/EmoEvaluation", "dialog/transcriptions", "sentences/wav"
_FOLDER = re.compile(r"Session([1-5])", re.IGNORECASE)
_TEXT = re.compile(rf"({DIALOGUE_NAME})\.txt")
_RATER = re.compile(rf"({DIALOGUE_NAME})_e\d+_cat\.txt", re.IGNORECASE)
_WAV = re.compile(rf"({TURN_NAME})\.wav")
_ALIGNED = re.compile(rf"({TURN_NAME})\.({'|'.join(KINDS)})")


@dataclass(frozen=True)
class Found:
    path: Path
    size: int


@dataclass(frozen=True)
class Session:
    """The files of one session: texts by dialogue, wavs and alignments by turn (and kind)."""

    number: str
    folder: Path
    evaluations: Mapping[str, Path]
    ratings: Mapping[str, Path]
    """By file name: one rater's categories of one dialogue."""
    transcripts: Mapping[str, Path]
    wavs: Mapping[str, Found] = field(default_factory=dict)
    alignments: Mapping[tuple[str, str], Found] = field(default_factory=dict)

    def missing(self, media: bool) -> list[str]:
        """The parts that are not there, as a user knows them."""
        parts = {EVALUATION: len(self.evaluations), TRANSCRIPTS: len(self.transcripts)}
        if media:
            parts[WAVS] = len(self.wavs)
        absent = [name for name, count in parts.items() if not count]
        untold = sorted(self.evaluations.keys() - self.transcripts.keys()) if self.transcripts else []
        return absent + [f"{TRANSCRIPTS}/{name}.txt" for name in untold]

    def digest(self) -> str:
        """Over the texts' bytes and the other files' names and sizes; not over where they lie."""
        total = hashlib.sha256()
        for texts in (self.evaluations, self.ratings, self.transcripts):
            for name, path in texts.items():
                total.update(f"{name} {hashlib.sha256(_bytes(path)).hexdigest()}\n".encode())
            total.update(b"--\n")
        for files in (self.wavs, self.alignments):
            for found in files.values():
                total.update(f"{found.path.name} {found.size}\n".encode())
        return total.hexdigest()


@dataclass(frozen=True)
class Layout:
    sessions: tuple[Session, ...]

    def digest(self) -> str:
        return hashlib.sha256("".join(s.digest() for s in self.sessions).encode()).hexdigest()[:16]


def find_layout(root: Path, media: bool = True) -> Layout:
    """The five sessions below `root`; CorpusError names what is missing. Without `media`, their texts alone."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; IEMOCAP's root holds the {_SESSIONS}")
    if _is_session(root):
        raise CorpusError(f"{root}: one session alone; give the folder that holds the {_SESSIONS}")
    folders: dict[str, list[Path]] = {number: [] for number in NUMBERS}
    for number, folder in _sessions(root, DEPTH):
        folders[number].append(folder)
    if not any(folders.values()):
        hint = "; its archive may have to be unpacked first" if _archives(root) else ""
        raise CorpusError(
            f"{root}: not IEMOCAP: no {_SESSIONS} with dialog and sentences down to {DEPTH} folders below it{hint}"
        )
    found = {number: [_read(number, folder, media) for folder in folders[number]] for number in NUMBERS}
    absent = [said for number in NUMBERS for said in _absent(number, found[number], media)]
    if absent:
        wavs_alone = all(name.endswith(WAVS) for name in absent)
        way = '; modalities ["text"] needs no wavs' if wavs_alone else ""
        raise CorpusError(f"{root}: IEMOCAP is not whole: no {', '.join(absent)}{way}")
    return Layout(tuple(_same([s for s in found[n] if not s.missing(media)]) for n in NUMBERS))


def _absent(number: str, copies: list[Session], media: bool) -> list[str]:
    """What no copy of the session has whole, told of the fullest copy."""
    if not copies:
        return [f"Session{number}"]
    return [f"Session{number}/{part}" for part in min((s.missing(media) for s in copies), key=len)]


def _same(copies: list[Session]) -> Session:
    """The one session among its copies: the shallowest, when all hold the same."""
    copies = sorted(copies, key=lambda session: (len(session.folder.parts), session.folder))
    for other in copies[1:]:
        if other.digest() != copies[0].digest():
            raise CorpusError(
                f"{copies[0].folder} and {other.folder} differ; keep the one to be read below the corpus's root"
            )
    return copies[0]


def _sessions(folder: Path, depth: int) -> Iterator[tuple[str, Path]]:
    """(number, folder) of each session, without looking into it: its motion capture alone is 30 000 files."""
    for entry in _listing(folder):
        if entry.name.startswith((".", "__MACOSX")) or not entry.is_dir():
            continue
        name = _FOLDER.fullmatch(entry.name)
        if name and _is_session(Path(entry.path)):
            yield name[1], Path(entry.path)
        elif depth > 0:
            yield from _sessions(Path(entry.path), depth - 1)


def _is_session(folder: Path) -> bool:
    return (folder / "dialog").is_dir() or (folder / "sentences").is_dir()


def _read(number: str, folder: Path, media: bool) -> Session:
    evaluation = folder / EVALUATION
    session = Session(
        number,
        folder,
        {match[1]: Path(entry.path) for match, entry in _matching(evaluation, _TEXT)},
        {match[0]: Path(entry.path) for match, entry in _matching(evaluation / "Categorical", _RATER)},
        {match[1]: Path(entry.path) for match, entry in _matching(folder / TRANSCRIPTS, _TEXT)},
    )
    if not media:
        return session
    aligned = {
        (match[1], match[2]): _found(entry)
        for sub in _folders(folder / "sentences" / "ForcedAlignment")
        for match, entry in _matching(sub, _ALIGNED)
    }
    wavs: dict[str, Found] = {}
    for sub in _folders(folder / WAVS):
        for match, entry in _matching(sub, _WAV):
            kept = wavs.setdefault(match[1], _found(entry))
            if kept.size != entry.stat().st_size:
                raise CorpusError(f"{kept.path} and {entry.path} differ in size; keep one of the two")
    return replace(session, wavs=wavs, alignments=aligned)


def _found(entry: os.DirEntry[str]) -> Found:
    return Found(Path(entry.path), entry.stat().st_size)


def _folders(folder: Path) -> list[Path]:
    """The folder and those in it: a folder a dialogue, or all files flat."""
    if not folder.is_dir():
        return []
    inner = [Path(entry.path) for entry in _listing(folder) if entry.is_dir() and not entry.name.startswith(".")]
    return [folder, *inner]


def _matching(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[re.Match[str], os.DirEntry[str]]]:
    """The files of a folder whose whole names match, sorted; links to nothing are absent files."""
    for entry in _listing(folder) if folder.is_dir() else ():
        match = pattern.fullmatch(entry.name)
        if match and entry.is_file():
            yield match, entry


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as listing:
            return sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be read ({error.strerror}); IEMOCAP is looked for there") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error


def _archives(root: Path) -> bool:
    return any(entry.name.endswith((".tar.gz", ".tgz", ".tar", ".zip")) for entry in _listing(root))


_SESSIONS = "folders Session1 to Session5"
