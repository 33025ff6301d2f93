"""The files of a corpus of vectors, and a hash of what is in them that opens no array."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.features_names import split_of
from trainables.importers.files import blocks
from trainables.importers.lfs import explain, is_stub

NPZ, HDF5 = (".npz",), (".h5", ".hdf5")


@dataclass(frozen=True)
class Source:
    path: Path
    stem: str
    """What its name says of its arrays; empty of a file that stands alone."""


@dataclass(frozen=True)
class Sources:
    place: Path
    """As the user gave it."""
    files: Sequence[Source]


def find_sources(root: Path | None) -> Sources:
    """CorpusError where there is none, or where there are several and none says which split it is of."""
    if root is None:
        raise CorpusError("features need a file: say where it lies with --root, or set ORCH_CORPORA__FEATURES")
    found = _file(root) if root.is_file() else _folder(root)
    stubs = sum(is_stub(source.path) for source in found)
    if stubs:
        raise CorpusError(explain(stubs, len(found), root))
    return Sources(root, found)


def _file(path: Path) -> list[Source]:
    if path.suffix.lower() not in NPZ + HDF5:
        raise CorpusError(
            f"{path}: not a .npz, .h5 or .hdf5; arrays of another kind (a pickle can run any code) are to be saved "
            "as one of them, e.g. with numpy.savez"
        )
    return [Source(path, "")]


def _folder(root: Path) -> list[Source]:
    found = sorted(_files(root))
    if len(found) == 1:
        return [Source(found[0], "")]
    named = [Source(path, path.stem) for path in found if split_of(path.stem)]
    if not named:
        told = f"it has {', '.join(path.name for path in found)}; give the path of one" if found else "it has none"
        raise CorpusError(f"{root}: files named by split, as train.npz or audio_train.h5, are looked for; {told}")
    return named


def _files(folder: Path) -> Iterator[Path]:
    try:
        for path in folder.iterdir():
            if path.suffix.lower() in NPZ + HDF5 and not path.name.startswith(".") and path.is_file():
                yield path
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be read ({error.strerror}); features are looked for there") from error


def digest(sources: Sources) -> str:
    """Of an npz its arrays' names and checksums, however they are compressed; of an HDF5 file its bytes, of a large
    one no more than `files.blocks` gives."""
    total = hashlib.sha256()
    for source in sources.files:
        try:
            lines = _members(source.path) if source.path.suffix.lower() in NPZ else blocks(source.path)
            for line in lines:
                total.update(f"{source.stem} ".encode() + line)
        except (OSError, zipfile.BadZipFile) as error:
            raise CorpusError(f"{source.path}: cannot be read as {source.path.suffix[1:]} ({error})") from error
    return total.hexdigest()[:16]


def _members(path: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as file:
        for member in sorted(file.infolist(), key=lambda member: member.filename):
            yield f"{member.filename} {member.file_size} {member.CRC:08x}\n".encode()
