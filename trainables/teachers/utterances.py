"""Reading what teachers are fine-tuned on: labels, texts and clips of train and dev, never of test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.artifacts import Record, read_record
from trainables.corpus import iter_tables, prefix, with_fold
from trainables.errors import ArtifactError, CorpusError
from trainables.storage import Storage

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Utterances:
    """Rows of one split. `audio` is an Arrow column of FLAC, null where there is none; None if not read.

    `segments` holds, by granularity, each row's labelled times in seconds, or None where it is not aligned.
    """

    labels: NDArray[np.int64]
    texts: list[str]
    audio: Any = None
    segments: dict[str, list[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


def corpus_record(storage: Storage, fingerprint: str) -> Record:
    record = read_record(storage, prefix(fingerprint))
    if record is None:
        raise ArtifactError(f"{storage.url(prefix(fingerprint))}: no such corpus; prepare it first")
    return record


def label_numbers(names: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Class numbers; an unknown label is an error, never class 0."""
    number = {label: i for i, label in enumerate(labels)}
    unknown = set(names) - set(number)
    if unknown:
        raise CorpusError(f"unknown labels {sorted(unknown)}; the corpus's record names {', '.join(labels)}")
    return np.asarray([number[name] for name in names], dtype=np.int64)


def read_utterances(
    storage: Storage,
    fingerprint: str,
    labels: Sequence[str],
    audio: bool,
    fold: int | None = None,
    *,
    segments: Sequence[str] = (),
) -> dict[str, Utterances]:
    """Train and dev (of a fold). With `audio`, train rows that have none are left out; dev keeps them (silence)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    times = [f"{granularity}s" for granularity in segments]
    columns = ["uid", "folds", "split", "label", "text", *(["audio"] if audio else []), *times]
    kept: dict[str, list[Any]] = {"train": [], "dev": []}
    for whole in iter_tables(storage, fingerprint, columns):
        table = with_fold(whole, fold)
        for split, parts in kept.items():
            mask = pc.equal(table["split"], split)
            if audio and split == "train":
                mask = pc.and_(mask, pc.is_valid(table["audio"]))
            parts.append(table.filter(mask))
    found = {}
    for split, parts in kept.items():
        table = pa.concat_tables(parts)
        if len(table) == 0:
            raise CorpusError(f"{storage.url(prefix(fingerprint))}: no usable {split} row for this teacher")
        numbers = label_numbers(table["label"].to_pylist(), labels)
        found[split] = Utterances(
            numbers,
            table["text"].to_pylist(),
            table["audio"] if audio else None,
            {g: table[name].to_pylist() for g, name in zip(segments, times, strict=True)},
        )
    return found
