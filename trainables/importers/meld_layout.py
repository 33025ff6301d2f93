"""Where a tree of MELD's shape keeps its three CSV files and its clips.

Nothing is assumed of the folders but their names: the CSV files `{train,dev,test}_sent_emo.csv` (or the dyadic
`*_sent_emo_dya.csv`) may lie anywhere down to `DEPTH` folders, and a folder of clips belongs to the split that
the nearest folder name above it says, or else to the one split whose CSV file lies beside the clips. Ids restart
in each split, so clips of several splits in one folder cannot be told apart: that is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainables.corpus import SPLITS
from trainables.errors import CorpusError
from trainables.importers.files import DEPTH, Clip, walk

SPLIT_OF_FOLDER = {
    "train": "train",
    "train_splits": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "dev_splits": "dev",
    "dev_splits_complete": "dev",
    "test": "test",
    "test_splits": "test",
    "output_repeated_splits_test": "test",
}
CLIP = re.compile(r"dia(\d+)_utt(\d+)\.(mp4|wav|flac|m4a)")
"""Matched whole: AppleDouble stubs (`._dia…`) and `final_videos_testdia…` copies fall out."""
_PREFERENCE = ("mp4", "wav", "flac", "m4a")
_CSV = re.compile(r"(train|dev|val|test)_sent_emo(_dya)?\.csv")

ClipKey = tuple[int, int]
"""(dialogue, utterance) as in the clip's name."""


@dataclass(frozen=True)
class Layout:
    """The CSV file of each split, and its clips where media were looked for."""

    root: Path
    csvs: Mapping[str, Path]
    clips: Mapping[str, Mapping[ClipKey, Clip]] = field(default_factory=dict)
    dyadic: bool = False

    def digest(self) -> str:
        """Over the CSV files' bytes and each clip's name and size; not over where they lie."""
        total = hashlib.sha256(b"dyadic" if self.dyadic else b"")
        for split in SPLITS:
            total.update(f"{split} {_read(self.csvs[split]).hexdigest()}\n".encode())
            for _, clip in sorted(self.clips.get(split, {}).items()):
                total.update(f"{clip.path.name} {clip.size}\n".encode())
        return total.hexdigest()[:16]


@dataclass
class _Found:
    csvs: dict[tuple[str, bool], list[Path]] = field(default_factory=dict)
    folders: dict[Path, list[tuple[re.Match[str], os.DirEntry[str]]]] = field(default_factory=dict)
    archives: list[str] = field(default_factory=list)


def find_layout(root: Path, media: bool = True) -> Layout:
    """The layout below `root`; CorpusError names what is missing or ambiguous. Without `media`, CSVs alone."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; MELD's root holds {_wanted(media)}")
    found = _Found()
    for entry in walk(root, "MELD"):
        _note(entry, found)
    csvs, dyadic = _choose_csvs(root, found, media)
    clips = _assign_clips(root, found, csvs) if media else {}
    return Layout(root, csvs, clips, dyadic)


def _note(entry: os.DirEntry[str], found: _Found) -> None:
    clip = CLIP.fullmatch(entry.name)
    if clip:
        found.folders.setdefault(Path(entry.path).parent, []).append((clip, entry))
        return
    csv = _CSV.fullmatch(entry.name)
    if csv:
        key = (SPLIT_OF_FOLDER[csv[1]], csv[2] is not None)
        found.csvs.setdefault(key, []).append(Path(entry.path))
    elif entry.name.endswith((".tar.gz", ".tgz", ".zip")):
        found.archives.append(entry.name)


def _choose_csvs(root: Path, found: _Found, media: bool) -> tuple[dict[str, Path], bool]:
    for dyadic in (False, True):
        if all((split, dyadic) in found.csvs for split in SPLITS):
            return {split: _same(found.csvs[split, dyadic]) for split in SPLITS}, dyadic
    missing = [f"{split}_sent_emo.csv" for split in SPLITS if (split, False) not in found.csvs]
    hint = f"; {', '.join(found.archives)} may have to be unpacked first" if found.archives else ""
    raise CorpusError(
        f"{root}: not MELD: no {', '.join(missing)} down to {DEPTH} folders below it; "
        f"looked for {_wanted(media)}{hint}"
    )


def _same(paths: list[Path]) -> Path:
    """The one CSV file among its copies: the shallowest, when all have the same bytes."""
    paths = sorted(paths, key=lambda path: (len(path.parts), path))
    for other in paths[1:]:
        if _read(other).digest() != _read(paths[0]).digest():
            raise CorpusError(f"{paths[0]} and {other} differ; keep the one to be read below the corpus's root")
    return paths[0]


def _assign_clips(root: Path, found: _Found, csvs: Mapping[str, Path]) -> dict[str, dict[ClipKey, Clip]]:
    clips: dict[str, dict[ClipKey, Clip]] = {split: {} for split in SPLITS}
    homeless = []
    for folder, entries in sorted(found.folders.items()):
        split = _split_of(folder, root, csvs)
        if split is None:
            homeless.append(folder)
            continue
        for match, entry in sorted(entries, key=lambda item: _PREFERENCE.index(item[0][3])):
            clip = Clip(Path(entry.path), entry.stat().st_size)
            _keep(clips[split], (int(match[1]), int(match[2])), clip)
    empty = [split for split in SPLITS if not clips[split]]
    if empty and homeless:
        raise CorpusError(
            f"{homeless[0]}: clips, but of which split? Ids restart in each split, so a folder that merges "
            f"them is ambiguous (later files overwrote earlier ones); unpack them again into {_FOLDERS}"
        )
    if empty:
        raise CorpusError(
            f"{root}: no clips dia<D>_utt<U>.mp4 of {', '.join(empty)}; looked for folders {_FOLDERS} down to "
            f'{DEPTH} folders below it; modalities ["text"] needs no clips'
        )
    return clips


def _split_of(folder: Path, root: Path, csvs: Mapping[str, Path]) -> str | None:
    for name in reversed(folder.relative_to(root).parts):
        if name.lower() in SPLIT_OF_FOLDER:
            return SPLIT_OF_FOLDER[name.lower()]
    beside = [split for split, path in csvs.items() if path.parent == folder]
    return beside[0] if len(beside) == 1 else None


def _keep(clips: dict[ClipKey, Clip], key: ClipKey, clip: Clip) -> None:
    """Keep the first clip of a key; a second of the same kind in another folder must have the same size."""
    kept = clips.setdefault(key, clip)
    if kept.path.suffix == clip.path.suffix and kept.size != clip.size:
        raise CorpusError(f"{kept.path} and {clip.path} differ in size; keep one of the two")


def _read(path: Path) -> hashlib._Hash:
    try:
        return hashlib.sha256(path.read_bytes())
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error


def _wanted(media: bool) -> str:
    csvs = "train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv"
    return f"{csvs}, and clips in {_FOLDERS}" if media else csvs


_FOLDERS = "train_splits, dev_splits_complete and output_repeated_splits_test (or train, dev and test)"
