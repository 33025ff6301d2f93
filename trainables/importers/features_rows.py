"""Arrays by split and modality -> the rows of a corpus, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.corpus import SPLITS
from trainables.errors import CorpusError
from trainables.importers.features_arrays import Stored
from trainables.importers.features_labels import Truth, Written, read_truth
from trainables.importers.features_names import IDS, LENGTHS, SPEAKER, TRUTH, Name, parse
from trainables.importers.features_remarks import remarks_of
from trainables.importers.features_streams import Stream, constant_columns, make_stream
from trainables.importers.files import plural
from trainables.importers.rows import RawRow
from trainables.importers.speakers import NOBODY, shared_speakers
from trainables.spec import FeaturesCorpusSpec
from trainables.spec.base import MODALITIES, Modality, in_order

Streams = Mapping[Modality, Mapping[str, Stream]]
"""By modality and split."""


@dataclass(frozen=True)
class Read:
    rows: list[RawRow]
    """In the order of the splits, and in each as the arrays have them."""
    labels: Sequence[str]
    widths: Mapping[Modality, int]
    speaker_disjoint: Sequence[str]
    remarks: Sequence[str]


@dataclass(frozen=True)
class _Arrays:
    """What there is, by what its name says."""

    place: Path
    named: Mapping[Name, Stored]
    unread: Sequence[str]

    def read(self, split: str, what: str, modality: Modality | None = None) -> NDArray[Any] | None:
        stored = self.named.get(Name(split, what, modality))
        return None if stored is None else stored.read()

    def where(self, split: str, what: str, modality: Modality | None = None) -> str:
        return self.named[Name(split, what, modality)].where

    def has(self, modality: Modality) -> list[str]:
        return [split for split in SPLITS if Name(split, modality, modality) in self.named]


def read_rows(stored: Sequence[Stored], spec: FeaturesCorpusSpec, place: Path) -> Read:
    """CorpusError naming file, array and row."""
    arrays = _arrays(stored, spec, place)
    streams = {m: _streams(arrays, m) for m in in_order(spec.modalities)}
    written = {split: _labels(arrays, split) for split in SPLITS}
    _same_rows(streams, written)
    still = {m: _without_constants(of) for m, of in streams.items()}
    truth = read_truth(written, spec)
    counts = {split: len(written[split].values) for split in SPLITS}
    ids, speakers = (
        {split: _texts(arrays, split, what, count) for split, count in counts.items()} for what in (IDS, SPEAKER)
    )
    rows = [
        row
        for split, count in counts.items()
        for row in _rows(split, ids[split] or _numbers(count), speakers[split] or [NOBODY] * count, streams, truth)
    ]
    shared = shared_speakers(speakers)
    return Read(
        rows=rows,
        labels=truth.labels,
        widths={m: of[SPLITS[0]].values.shape[2] for m, of in streams.items()},
        speaker_disjoint=[split for split in SPLITS if all(speakers.values()) and not shared[split]],
        remarks=[*remarks_of(streams, still, truth, ids, shared["test"]), *_unread(arrays.unread)],
    )


def _arrays(stored: Sequence[Stored], spec: FeaturesCorpusSpec, place: Path) -> _Arrays:
    named: dict[Name, Stored] = {}
    unread = []
    for one in stored:
        name = parse(one.name, spec.names)
        if name is None:
            unread.append(one.name)
        elif name in named:
            way = f"say which in corpus.names, as {name.modality}: NAME" if name.modality else "keep one of them"
            raise CorpusError(f"{named[name].where} and {one.where} are both {name.what} of {name.split}; {way}")
        else:
            named[name] = one
    return _Arrays(place, named, unread)


def _streams(arrays: _Arrays, modality: Modality) -> dict[str, Stream]:
    missing = [split for split in SPLITS if split not in arrays.has(modality)]
    if missing:
        raise CorpusError(_absent(arrays, modality, missing))
    found: dict[str, Stream] = {}
    for split in SPLITS:
        own = modality if Name(split, LENGTHS, modality) in arrays.named else None
        lengths = arrays.read(split, LENGTHS, own)
        where = arrays.where(split, LENGTHS, own) if lengths is not None else ""
        raw = arrays.read(split, modality, modality)
        assert raw is not None
        found[split] = make_stream(arrays.where(split, modality, modality), raw, lengths, where)
    first = found[SPLITS[0]]
    for stream in found.values():
        if stream.values.shape[2] != first.values.shape[2]:
            widths = f"{stream.values.shape[2]} wide, and {first.where} {first.values.shape[2]}"
            raise CorpusError(f"{stream.where} is {widths}; a modality has one width in all splits")
    return found


def _absent(arrays: _Arrays, modality: Modality, missing: Sequence[str]) -> str:
    there = arrays.has(modality)
    others = [m for m in MODALITIES if arrays.has(m) == list(SPLITS)]
    only = f", only for {' and '.join(there)}" if there else ""
    if others:
        way = f"read what is there for every split: corpus.modalities: [{', '.join(others)}]"
    else:
        names = sorted({*arrays.unread, *(stored.name for stored in arrays.named.values())})
        way = f"name it so, or by corpus.names; arrays are {', '.join(names) or 'none'}"
    return f"{arrays.place}: no array {modality}_{missing[0]}{only}, which modality {modality} reads; {way}"


def _labels(arrays: _Arrays, split: str) -> Written:
    values = arrays.read(split, TRUTH)
    if values is None:
        names = ", ".join(sorted(stored.name for stored in arrays.named.values())) or "none of ours"
        raise CorpusError(f"{arrays.place}: no labels of split {split}, as y_{split}; arrays are {names}")
    where = arrays.where(split, TRUTH)
    if not values.ndim or not len(values):
        raise CorpusError(f"{where}: shape {list(values.shape)}; a label a row is wanted")
    return Written(where, values)


def _same_rows(streams: Streams, written: Mapping[str, Written]) -> None:
    for of in streams.values():
        for split, stream in of.items():
            count, wanted = len(stream.values), len(written[split].values)
            if count != wanted:
                raise CorpusError(f"{stream.where} has {count} rows, and {written[split].where} {wanted}")


def _without_constants(of: Mapping[str, Stream]) -> list[int]:
    """The columns that are constant in train, set to 0 in every split (in place)."""
    columns = constant_columns(of[SPLITS[0]])
    for stream in of.values():
        stream.values[:, :, columns] = 0
    return columns


def _numbers(count: int) -> list[str]:
    return [f"{row:0{len(str(count - 1))}d}" for row in range(count)]


def _texts(arrays: _Arrays, split: str, what: str, count: int) -> list[str]:
    """A text a row, none where there is no such array; ids differ."""
    values = arrays.read(split, what)
    if values is None:
        return []
    where = arrays.where(split, what)
    if values.shape != (count,) or values.dtype.kind not in "SUiu":
        told = f"{values.dtype} of shape {list(values.shape)}"
        raise CorpusError(f"{where}: {told}; a name for each of {count} rows is wanted")
    texts = np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
    found = [str(text) for text in texts.tolist()]
    first: dict[str, int] = {}
    for row, text in enumerate(found if what == IDS else ()):
        if first.setdefault(text, row) != row:
            raise CorpusError(f"{where}: row {row}: {text!r} is row {first[text]}'s already")
    return found


def _unread(names: Sequence[str]) -> Iterator[str]:
    if names:
        yield f"{plural(len(names), 'array', 'arrays')} not read: {', '.join(names)}"


def _rows(
    split: str, names: Sequence[str], speakers: Sequence[str], streams: Streams, truth: Truth
) -> Iterator[RawRow]:
    for row, name in enumerate(names):
        vectors = {modality: of[split].row(row) for modality, of in streams.items()}
        yield RawRow(
            uid=f"{split}-{name}",
            split=split,
            dialogue=f"{split}-{name}",
            speaker=speakers[row],
            label=truth.chosen[split][row] if truth.chosen else "",
            text="",
            clip=None,
            targets=truth.targets[split][row] if truth.targets else None,
            vectors={modality: values for modality, values in vectors.items() if values is not None},
        )
