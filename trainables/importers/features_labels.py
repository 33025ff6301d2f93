"""The labels of a corpus of vectors, however its arrays write them: names, numbers, one-hot, 0 and 1, ratings."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from trainables.errors import CorpusError
from trainables.spec import FeaturesCorpusSpec


@dataclass(frozen=True)
class Written:
    """The array of a split, [N] or [N, C]."""

    where: str
    values: NDArray[Any]

    def fault(self, row: int, told: str) -> CorpusError:
        return CorpusError(f"{self.where}: row {row}: {told}")


@dataclass(frozen=True)
class Truth:
    labels: tuple[str, ...]
    chosen: Mapping[str, Sequence[str]]
    """By split, the label of each row; empty where there are several."""
    targets: Mapping[str, Sequence[tuple[float, ...]]]
    """By split, 0 or 1 per label; empty with one label a row."""


def read_truth(written: Mapping[str, Written], spec: FeaturesCorpusSpec) -> Truth:
    """CorpusError naming array, row and value."""
    flat = {split: Written(one.where, _without_ones(one.values)) for split, one in written.items()}
    if spec.several:
        labels = _columns(flat, spec)
        return Truth(labels, {}, {split: [_present(one, row) for row in _rows(one)] for split, one in flat.items()})
    if spec.thresholds:
        known = {split: [_class_of(one, row, spec.thresholds) for row in _rows(one)] for split, one in flat.items()}
        return _numbered(known, spec.labels)
    if any(one.values.ndim == 2 for one in flat.values()):
        labels = _columns(flat, spec)
        return _numbered({split: [_hot(one, row) for row in _rows(one)] for split, one in flat.items()}, labels)
    if any(one.values.dtype.kind in "SU" for one in flat.values()):
        return _named(flat, spec.labels)
    return _integers(flat, spec.labels)


def _without_ones(values: NDArray[Any]) -> NDArray[Any]:
    """[N], or [N, C] with C above 1: [N, 1] and [N, 1, 1] are [N]."""
    sizes = [size for size in values.shape[1:] if size != 1]
    return values.reshape(len(values), *sizes)


def _rows(one: Written) -> range:
    return range(len(one.values))


def _columns(flat: Mapping[str, Written], spec: FeaturesCorpusSpec) -> tuple[str, ...]:
    """The labels of [N, C], whose C is the same in every split."""
    count = len(spec.labels)
    for one in flat.values():
        shape = list(one.values.shape)
        count = count or shape[-1]
        if len(shape) != 2 or shape[1] != count or one.values.dtype.kind not in "biuf":
            wanted = f"[rows, {count}] of 0 and 1, a column a label, is wanted" + (
                ", as labels names" * bool(spec.labels)
            )
            raise CorpusError(f"{one.where}: {one.values.dtype} of shape {shape}; {wanted}")
    return spec.labels or tuple(map(str, range(count)))


def _present(one: Written, row: int) -> tuple[float, ...]:
    values = tuple(float(value) for value in one.values[row])
    if not set(values) <= {0.0, 1.0}:
        raise one.fault(row, f"{_told(values)}; with several: true each label is 0 or 1")
    return values


def _hot(one: Written, row: int) -> int:
    values: list[float] = one.values[row].tolist()
    if sorted(values)[-2:] != [0, 1] or sum(value == 0 for value in values) != len(values) - 1:
        raise one.fault(
            row, f"{_told(values)} is not one-hot; for several labels a row, or none, set several: true"
        )
    return values.index(1)


def _class_of(one: Written, row: int, thresholds: Sequence[float]) -> int:
    if one.values.ndim != 1 or one.values.dtype.kind not in "biuf":
        shape = list(one.values.shape)
        raise CorpusError(f"{one.where}: {one.values.dtype} of shape {shape}; thresholds part one number a row")
    value = float(one.values[row])
    if math.isnan(value):
        raise one.fault(row, "NaN is in no class; leave such rows out of every array of the split")
    return bisect.bisect_right(thresholds, value)


def _named(flat: Mapping[str, Written], labels: tuple[str, ...]) -> Truth:
    chosen = {split: [_text(value) for value in one.values.tolist()] for split, one in flat.items()}
    found = labels or tuple(sorted({name for names in chosen.values() for name in names}))
    for split, names in chosen.items():
        if not labels and flat[split].values.dtype.kind not in "SU":
            raise CorpusError(
                f"{flat[split].where}: {flat[split].values.dtype}, and another split has names; give all the same"
            )
        for row, name in enumerate(names):
            if name not in found or not name:
                raise flat[split].fault(row, f"label {name!r}; labels are {', '.join(found)}")
    return Truth(_distinct(flat, found), chosen, {})


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _integers(flat: Mapping[str, Written], labels: tuple[str, ...]) -> Truth:
    known: dict[str, list[int]] = {}
    for split, one in flat.items():
        if one.values.ndim != 1 or one.values.dtype.kind not in "biuf":
            shape = list(one.values.shape)
            raise CorpusError(f"{one.where}: {one.values.dtype} of shape {shape}; a label a row is wanted")
        known[split] = [_integer(one, row, labels) for row in _rows(one)]
    if labels:
        return _numbered(known, labels)
    found = sorted({number for numbers in known.values() for number in numbers})
    chosen = {split: [str(number) for number in numbers] for split, numbers in known.items()}
    return Truth(_distinct(flat, tuple(map(str, found))), chosen, {})


def _integer(one: Written, row: int, labels: Sequence[str]) -> int:
    value = float(one.values[row])
    if not value.is_integer():
        raise one.fault(
            row, f"{value:g} is no number of a class; to make classes of ratings set thresholds and labels"
        )
    if labels and not 0 <= value < len(labels):
        numbers = f"the {len(labels)} labels are numbered 0 to {len(labels) - 1}"
        raise one.fault(row, f"label {value:g}; {numbers}; for ratings set thresholds")
    return int(value)


def _numbered(known: Mapping[str, Sequence[int]], labels: tuple[str, ...]) -> Truth:
    return Truth(labels, {split: [labels[number] for number in numbers] for split, numbers in known.items()}, {})


def _distinct(flat: Mapping[str, Written], labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(labels) < 2:
        where = next(iter(flat.values())).where
        raise CorpusError(f"{where}: every label is {', '.join(labels)}; there is nothing to tell apart")
    return labels


def _told(values: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
