"""What there is to say of a corpus of vectors: what was mended, what is missing, what was not read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from trainables.corpus import SPLITS
from trainables.importers.features_labels import Truth
from trainables.importers.features_streams import Stream
from trainables.importers.files import plural, some
from trainables.importers.speakers import shared_remark
from trainables.spec.base import Modality


def remarks_of(
    streams: Mapping[Modality, Mapping[str, Stream]],
    constants: Mapping[Modality, Sequence[int]],
    truth: Truth,
    ids: Mapping[str, Sequence[str]],
    shared: Collection[str],
) -> Iterator[str]:
    """`constants`: columns by modality; `ids`: the names of rows that have some; `shared`: the speakers of test
    that speak elsewhere too."""
    for modality, of in streams.items():
        yield from _stream(modality, list(of.values()))
        if constants[modality]:
            width = of[SPLITS[0]].values.shape[2]
            yield f"{modality}: {_columns(constants[modality], width)} constant in train, and read as 0 everywhere"
        yield from _missing(f"no {modality} vectors, only zeros", {s: ~stream.present for s, stream in of.items()})
    if len(streams) > 1:
        empty = {s: ~np.any([of[s].present for of in streams.values()], axis=0) for s in SPLITS}
        yield from _missing("no vectors at all: nothing can be known of them", empty)
    yield from _labels(truth)
    yield from _leaks(ids, shared)


def _stream(modality: Modality, parts: Sequence[Stream]) -> Iterator[str]:
    nans, infinities, rows = (sum(getattr(p, name) for p in parts) for name in ("nans", "infinities", "bad_rows"))
    if nans or infinities:
        told = " and ".join(f"{count} {kind}" for count, kind in ((nans, "NaN"), (infinities, "infinite")) if count)
        yield f"{modality}: numbers that are not finite, {told}, in {plural(rows, 'row', 'rows')}, are read as 0"
    padded = [_padded(part) for part in parts if not part.given]
    front, behind = (sum(part[side] for part in padded) for side in (0, 1))
    if front or behind:
        yield (
            f"{modality}: steps of zeros alone are cut as padding, in front of {plural(front, 'row', 'rows')} and "
            f"behind {behind}; where they are none, give {modality}_<split>_lengths"
        )


def _padded(part: Stream) -> tuple[int, int]:
    """Rows with padding in front, and behind."""
    spans = part.spans[part.present]
    return int((spans[:, 0] > 0).sum()), int((spans[:, 1] < part.values.shape[1]).sum())


def _columns(columns: Sequence[int], width: int) -> str:
    what = f"{plural(len(columns), 'column', 'columns')} of {width} ({some([str(column) for column in columns])})"
    return f"{what} {'is' if len(columns) == 1 else 'are'}"


def _missing(what: str, absent: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]) -> Iterator[str]:
    counts = {split: int(rows.sum()) for split, rows in absent.items()}
    if any(counts.values()):
        of = sum(len(rows) for rows in absent.values())
        told = ", ".join(f"{count} in {split}" for split, count in counts.items() if count)
        yield f"{sum(counts.values())} of {of} rows have {what} ({told})"


def _labels(truth: Truth) -> Iterator[str]:
    for number, label in enumerate(truth.labels):
        for split in SPLITS:
            if truth.targets:
                there = any(targets[number] for targets in truth.targets[split])
            else:
                there = label in truth.chosen[split]
            if not there:
                yield f"no row of {split} is {label!r}"


def _leaks(ids: Mapping[str, Sequence[str]], shared: Collection[str]) -> Iterator[str]:
    """Rows of one name, and speakers, in test and elsewhere."""
    both = set(ids["test"]) & {*ids["train"], *ids["dev"]}
    if both:
        yield (
            f"{plural(len(both), 'row of test has', 'rows of test have')} the name of a row of train or dev, as "
            f"{min(both)}: if they are the same, the scores are too good"
        )
    yield from shared_remark(shared)
