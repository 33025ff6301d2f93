"""One modality's vectors of one split: checked, made finite, and where in its padding each row lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.errors import CorpusError


@dataclass(frozen=True)
class Stream:
    """`values` float32 [N, T, D], finite; `spans` int [N, 2]: a row's first step and the one behind its last."""

    where: str
    values: NDArray[np.float32]
    spans: NDArray[np.int64]
    nans: int
    infinities: int
    bad_rows: int
    """Rows in which a number was not finite."""
    given: bool
    """Whether lengths were given."""

    def row(self, index: int) -> NDArray[np.float32] | None:
        """[steps, D]; None where the modality is missing."""
        start, end = self.spans[index]
        return self.values[index, start:end] if end > start else None

    @property
    def present(self) -> NDArray[np.bool_]:
        return self.spans[:, 1] > self.spans[:, 0]

    @property
    def steps(self) -> NDArray[np.bool_]:
        """[N, T]: which steps are the row's."""
        index = np.arange(self.values.shape[1])
        return (self.spans[:, :1] <= index) & (index < self.spans[:, 1:])


def make_stream(where: str, raw: NDArray[Any], lengths: NDArray[Any] | None, lengths_where: str) -> Stream:
    """CorpusError where the arrays are of another shape or kind, or a length is beyond them."""
    if raw.ndim not in (2, 3) or raw.dtype.kind not in "biuf" or 0 in raw.shape:
        raise CorpusError(
            f"{where}: {raw.dtype} of shape {list(raw.shape)}; numbers of [rows, steps, width], or of [rows, "
            "width] for one step, are wanted"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and counted
        values = raw.reshape(len(raw), -1, raw.shape[-1]).astype(np.float32)
    finite = np.isfinite(values)
    nans = int(np.isnan(values).sum())
    values[~finite] = 0
    if lengths is not None:
        lengths = _checked(lengths, values, lengths_where)
    return Stream(
        where=where,
        values=values,
        spans=spans_of(values, lengths),
        nans=nans,
        infinities=int((~finite).sum()) - nans,
        bad_rows=int((~finite).any(axis=(1, 2)).sum()),
        given=lengths is not None,
    )


def spans_of(values: NDArray[np.float32], lengths: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """[N, 2]: the steps of each row of [N, T, D]: of its length, else from its first to its last that is not zero.

    A row of zeros alone is (0, 0).
    """
    there: NDArray[np.bool_] = np.asarray(values.any(axis=2))
    count = there.shape[1]
    first, last = there.argmax(axis=1), count - there[:, ::-1].argmax(axis=1)
    if lengths is not None:
        there &= np.arange(count) < lengths[:, None]
        first, last = np.zeros_like(first), lengths
    return np.where(there.max(axis=1, keepdims=True), np.stack([first, last], axis=1), 0)


def constant_columns(stream: Stream) -> list[int]:
    """The columns that are the same at every step of every row; none where there is no step."""
    steps = stream.steps[..., None]
    if not steps.any():
        return []
    low = stream.values.min(axis=(0, 1), where=steps, initial=np.inf)
    high = stream.values.max(axis=(0, 1), where=steps, initial=-np.inf)
    return [int(column) for column in np.flatnonzero(low == high)]


def _checked(lengths: NDArray[Any], values: NDArray[np.float32], where: str) -> NDArray[np.int64]:
    flat = lengths.reshape(-1)
    if len(flat) != len(values) or flat.dtype.kind not in "biuf":
        told = f"{lengths.dtype} of shape {list(lengths.shape)}"
        raise CorpusError(f"{where}: {told}; a number of steps for each of {len(values)} rows is wanted")
    for row, length in enumerate(flat.tolist()):
        if not 0 <= length <= values.shape[1] or length != int(length):
            raise CorpusError(f"{where}: row {row}: {length} steps, of an array of {values.shape[1]}")
    return flat.astype(np.int64)
