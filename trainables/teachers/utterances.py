"""Reading what teachers are fine-tuned on: labels, texts, clips and pictures of train and dev, never of test."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.artifacts import Record, read_record
from trainables.corpus import iter_tables, prefix, with_fold
from trainables.errors import ArtifactError, CorpusError
from trainables.pictures import spread
from trainables.spec.base import Modality
from trainables.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

MEDIA: dict[Modality, str] = {"audio": "audio", "visual": "images"}
"""The columns of the corpus that a teacher's source decodes."""


@dataclass(frozen=True)
class Utterances:
    """Rows of one split. `labels`: class numbers int64 [N], or 0 and 1 float32 [N, C] where there may be several.

    `audio` is an Arrow column of FLAC, `images` one of lists of JPEG, null where there is none; None if not read.
    `segments` holds, by granularity, each row's labelled times in seconds, or None where it is not aligned.
    """

    labels: NDArray[Any]
    texts: list[str]
    audio: Any = None
    images: Any = None
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


def labels_of(table: pa.Table, labels: Sequence[str], multi_label: bool) -> NDArray[Any]:
    """What the rows of a corpus's table are labelled with, as in `Utterances`."""
    if not multi_label:
        return label_numbers(table["label"].to_pylist(), labels)
    return np.asarray(table["targets"].to_pylist(), dtype=np.float32).reshape(-1, len(labels))


def read_utterances(
    storage: Storage,
    fingerprint: str,
    labels: Sequence[str],
    reads: Collection[str],
    fold: int | None = None,
    *,
    segments: Sequence[str] = (),
    multi_label: bool = False,
    frames: int = 0,
) -> dict[str, Utterances]:
    """Train and dev (of a fold), with the media of the modalities among `reads`.

    Train rows that lack the audio or the pictures are left out; dev keeps them (silence, a black picture). At most
    `frames` pictures of a row are kept; 0: all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    media = [column for modality, column in MEDIA.items() if modality in reads]
    times = [f"{granularity}s" for granularity in segments]
    columns = ["uid", "folds", "split", "label", "targets", "text", *media, *times]
    kept: dict[str, list[Any]] = {"train": [], "dev": []}
    for whole in iter_tables(storage, fingerprint, columns):
        table = with_fold(whole, fold)
        if frames and "images" in media:
            place = table.schema.get_field_index("images")
            table = table.set_column(place, "images", thinned(table["images"], frames))
        for split, parts in kept.items():
            mask = pc.equal(table["split"], split)
            for column in media if split == "train" else ():
                mask = pc.and_(mask, pc.is_valid(table[column]))
            parts.append(table.filter(mask))
    found = {}
    for split, parts in kept.items():
        table = pa.concat_tables(parts)
        if len(table) == 0:
            raise CorpusError(f"{storage.url(prefix(fingerprint))}: no usable {split} row for this teacher")
        found[split] = utterances_of(table, labels_of(table, labels, multi_label), segments)
    return found


def utterances_of(table: pa.Table, labels: NDArray[Any], segments: Sequence[str] = ()) -> Utterances:
    """The rows of a table of the corpus, with what media it has."""
    return Utterances(
        labels,
        table["text"].to_pylist(),
        **{column: table[column] for column in MEDIA.values() if column in table.column_names},
        segments={granularity: table[f"{granularity}s"].to_pylist() for granularity in segments},
    )


def thinned(column: Any, frames: int) -> pa.Array:
    """A column of lists of pictures with at most `frames` of each, spread evenly, so that memory holds no more."""
    import pyarrow as pa

    rows = (row.as_py() for row in column)
    return pa.array(
        [row and [row[i] for i in spread(len(row), frames)] for row in rows], type=pa.list_(pa.binary())
    )
