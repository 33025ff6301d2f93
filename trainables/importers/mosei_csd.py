"""Computational sequences of CMU's SDK, files `.csd`: HDF5, with `/<name>/data/<video>/{features, intervals}`.

`features` is [segments, 7] of labels, [words, 1] of words; `intervals` is [segments, 2] in seconds. The name of the
root differs (`All Labels`, older `Emotion Labels`), so that it is whichever group has `data`. This module alone
knows h5py here, which is an extra.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.alignment.base import Segment, is_silence
from trainables.errors import CorpusError, UserError
from trainables.importers import lfs
from trainables.importers.hdf5 import read_dataset
from trainables.importers.mosei_labels import COLUMNS, NAMES, Labelled
from trainables.spec.corpus import SIX_EMOTIONS

_DIMENSIONS = "dimension names"


def read_labels(path: Path) -> list[Labelled]:
    """By video, then in the file's order, which is not that of time; CorpusError for what is no file of labels."""
    with _opened(path) as root:
        columns: list[int] = []
        width = 0
        found = []
        for video in sorted(root["data"]):
            features, intervals = _arrays(path, root, video)
            width = width or features.shape[1]
            if features.shape[1] != width:
                raise CorpusError(f"{path}: {video} has {features.shape[1]} columns, and those before it {width}")
            columns = columns or _columns(path, root, width)
            for number, (scores, times) in enumerate(zip(features[:, columns], intervals, strict=True)):
                start, end = (float(time) if np.isfinite(time) else None for time in times)
                found.append(Labelled(video, number, tuple(map(float, scores)), start, end))
        return found


def read_words(path: Path, videos: Collection[str]) -> dict[str, list[Segment]]:
    """The words of those `videos` that it has, in time, without pauses."""
    with _opened(path) as root:
        found = {}
        for video in sorted(set(videos) & set(root["data"])):
            features, intervals = _arrays(path, root, video, numbers=False)
            said = zip(map(_word, features[:, 0]), intervals.tolist(), strict=True)
            words = [Segment(word, start, end) for word, (start, end) in said if not is_silence(word)]
            found[video] = sorted(words, key=lambda word: word.start)
        return found


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The root group of the file."""
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{path}: a .csd is HDF5, read by the package h5py, which is not installed: pip install 'orch[hdf5]'"
        ) from error
    if lfs.is_stub(path):
        raise CorpusError(lfs.explain(1, 1, path))
    try:
        with h5py.File(path, "r") as file:
            links = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            roots = [group for group in map(file.get, links) if isinstance(group, h5py.Group) and "data" in group]
            if len(roots) != 1:
                names = ", ".join(file) or "nothing"
                raise CorpusError(
                    f"{path}: no computational sequence: one group with data is wanted, it has {names}"
                )
            yield roots[0]
    except OSError as error:
        raise CorpusError(
            f"{path}: cannot be read as HDF5 ({str(error).splitlines()[0]}); fetch it again"
        ) from error


def _arrays(path: Path, root: Any, video: str, numbers: bool = True) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Features [n, width] and intervals [n, 2] of one video."""
    try:
        entry = root["data"][video]
        name = root.file.filename
        features = read_dataset(entry["features"], name)
        intervals = read_dataset(entry["intervals"], name).astype(np.float64)
        features = features.astype(np.float64) if numbers else features
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        raise CorpusError(f"{path}: {video}: features and intervals are wanted, as numbers ({error})") from error
    if features.ndim != 2 or intervals.shape != (len(features), 2):
        raise CorpusError(
            f"{path}: {video}: features {list(features.shape)} and intervals {list(intervals.shape)}; [n, width] "
            "and [n, 2] are wanted"
        )
    return features, intervals


def _columns(path: Path, root: Any, width: int) -> list[int]:
    """Where the six emotions are: as the file's own names say, else in the SDK's order."""
    names = [NAMES.get(name, name) for name in _dimensions(root)] or list(COLUMNS[len(COLUMNS) - width :])
    if len(names) != width or not set(SIX_EMOTIONS) <= set(names):
        raise CorpusError(
            f"{path}: {width} columns, named {', '.join(names) or 'nothing'}; {', '.join(SIX_EMOTIONS)} are wanted"
        )
    return [names.index(label) for label in SIX_EMOTIONS]


def _dimensions(root: Any) -> list[str]:
    """Its metadata `dimension names`, a list as JSON; empty where it names other things or none."""
    try:
        value = np.asarray(root["metadata"][_DIMENSIONS][()]).reshape(-1)[0]
        names = json.loads(_word(value))
    except (KeyError, IndexError, ValueError, TypeError):
        return []
    known = [str(name).strip().lower() for name in names] if isinstance(names, list) else []
    return known if {NAMES.get(name) for name in known} >= set(SIX_EMOTIONS) else []


def _word(value: Any) -> str:
    """Bytes, a string or a number, as the release has all three."""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
