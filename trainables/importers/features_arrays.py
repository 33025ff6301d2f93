"""The arrays of npz and HDF5 files, each read when it is asked for, and never by unpickling."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import CorpusError, UserError
from trainables.importers.features_files import HDF5, Source, Sources
from trainables.importers.hdf5 import check_size, read_dataset

Reader = Callable[[], NDArray[Any]]

RAGGED = (
    "an array of objects, as sequences of differing lengths make it, is a pickle, which can run any code, and is "
    "not read; pad the rows with zeros to numbers of [rows, steps, width], and give how many steps each row has as "
    "<modality>_<split>_lengths"
)


@dataclass(frozen=True)
class Stored:
    """An array of a file. `name` says what it is, with the file's own name where that says anything."""

    name: str
    where: str
    """The file and the array in it, for messages."""
    read: Reader
    """Raises CorpusError where it cannot be read, or is of objects."""


@contextmanager
def opened(sources: Sources) -> Iterator[list[Stored]]:
    """All arrays, to be read while the context lasts."""
    with ExitStack() as stack:
        yield [stored for source in sources.files for stored in _open(source, stack)]


def _open(source: Source, stack: ExitStack) -> Iterator[Stored]:
    try:
        arrays = _hdf5 if source.path.suffix.lower() in HDF5 else _npz
        found = dict(arrays(source.path, stack))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        told = str(error).splitlines()[0]
        raise CorpusError(f"{source.path}: cannot be read as {source.path.suffix[1:]} ({told})") from error
    for name, read in found.items():
        where = f"{source.path}: {name}"
        yield Stored(f"{source.stem}/{name}" if source.stem else name, where, _guarded(read, where))


def _guarded(read: Reader, where: str) -> Reader:
    def guarded() -> NDArray[Any]:
        try:
            return read()
        except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            told = next(iter(str(error).splitlines()), type(error).__name__)
            raise CorpusError(
                f"{where}: {RAGGED if 'Object arrays' in told else f'cannot be read ({told})'}"
            ) from error

    return guarded


def _npz(path: Path, stack: ExitStack) -> Iterator[tuple[str, Reader]]:
    file = stack.enter_context(np.load(path, allow_pickle=False))
    for name in file.files:
        yield name, partial(_member, file, name)


def _member(file: Any, name: str) -> NDArray[Any]:
    members = file.zip.namelist()
    check_size(file.zip.getinfo(name if name in members else f"{name}.npy").file_size)
    return np.asarray(file[name])


def _hdf5(path: Path, stack: ExitStack) -> Iterator[tuple[str, Reader]]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{path}: HDF5 is read by the package h5py, which is not installed: pip install 'orch[hdf5]', or save "
            "the arrays as .npz"
        ) from error
    file = stack.enter_context(h5py.File(path, "r"))
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        yield name, partial(_dataset, h5py, file, name)


def _dataset(h5py: Any, file: Any, name: str) -> NDArray[Any]:
    dataset = file[name]
    if h5py.check_string_dtype(dataset.dtype):
        words = read_dataset(dataset, file.filename)
        return np.array([word.decode("utf-8") for word in words.ravel()], dtype=str).reshape(words.shape)
    if dataset.dtype.kind == "O":
        raise ValueError("Object arrays are of differing lengths")
    return read_dataset(dataset, file.filename)
