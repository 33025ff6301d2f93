"""Which TextGrid belongs to which row: by the row's uid, or by the name of its clip.

Clips of some corpora have one name in several splits (MELD's `dia0_utt0`): the TextGrid must then be named by the
uid, or lie in a folder whose name has the split in it, as those of MELD's own clips do. Nothing is guessed: what
could belong to two rows is an error, and so are two files that could belong to one.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainables.corpus import SPLITS
from trainables.errors import CorpusError

SUFFIX = ".textgrid"


def find_textgrids(folder: Path) -> list[Path]:
    """All files below the folder, sorted, relative to it; CorpusError where there are none."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        here = Path(place).relative_to(folder)
        found += [here / name for name in names if name.lower().endswith(SUFFIX) and not name.startswith(".")]
    if not found:
        raise CorpusError(
            f"{folder}: no *.TextGrid below it; give the folder that the aligner wrote, or another alignment"
        )
    return sorted(found)


def digest(folder: Path) -> str:
    """Over the files' places below the folder and their bytes; equal wherever the folder lies."""
    total = hashlib.sha256()
    for path in find_textgrids(folder):
        content = hashlib.sha256((folder / path).read_bytes()).hexdigest()
        total.update(f"{path.as_posix()} {content}\n".encode())
    return total.hexdigest()[:16]


def assign(paths: Sequence[Path], uids: Sequence[str]) -> dict[str, Path]:
    """The file of each row that has one. Raises CorpusError naming both of what is ambiguous."""
    by_name: dict[str, list[Path]] = {}
    for path in paths:
        by_name.setdefault(_plain(path.stem), []).append(path)
    found: dict[str, Path] = {}
    taken: dict[Path, str] = {}
    for uid in uids:
        candidates = _candidates(uid, by_name)
        if len(candidates) > 1:
            raise CorpusError(
                f"row {uid}: {candidates[0]} and {candidates[1]} could both be its TextGrid; keep one of them"
            )
        for path in candidates:
            other = taken.setdefault(path, uid)
            if other != uid:
                raise CorpusError(
                    f"{path}: it could be the TextGrid of row {other} and of row {uid}; name it by the uid, or put "
                    "it in a folder whose name says the split"
                )
            found[uid] = path
    return found


def _candidates(uid: str, by_name: Mapping[str, list[Path]]) -> list[Path]:
    named = by_name.get(_plain(uid), [])
    exact = [path for path in named if path.stem == uid]
    if named:
        return exact or named
    split, _, clip = uid.partition("-")
    paths = by_name.get(_plain(clip), []) if split in SPLITS else []
    here = [path for path in paths if split in _folders(path)]
    # A file in another split's folder is that split's; one in a folder of no split may be anybody's.
    unsaid = [path for path in paths if not _folders(path).intersection(SPLITS)]
    return here or unsaid


def _folders(path: Path) -> set[str]:
    """The words in the names of the folders that a file lies in."""
    return {word for part in path.parts[:-1] for word in re.split(r"[^a-z]+", part.lower())}


def _plain(name: str) -> str:
    return name.replace("-", "_")
