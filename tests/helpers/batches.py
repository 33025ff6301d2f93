"""Batches and transfer sets with one stream changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from trainables.batching import Batch
from trainables.spec.base import Modality
from trainables.transfer_set import TransferSet


def with_values(
    batch: Batch, modality: Modality, values: Tensor | None = None, mask: Tensor | None = None
) -> Batch:
    """The batch with other values or another mask in one of its streams."""
    stream = batch.streams[modality]
    changed = replace(
        stream, values=stream.values if values is None else values, mask=stream.mask if mask is None else mask
    )
    return replace(batch, streams={**batch.streams, modality: changed})


def with_stream(data: TransferSet, modality: Modality, **parts: Any) -> TransferSet:
    """The transfer set with other `values` or `offsets` in one of its streams."""
    return replace(data, streams={**data.streams, modality: replace(data.streams[modality], **parts)})


def row_of(data: TransferSet, modality: Modality, row: int) -> Any:
    """What the transfer set holds of one row, [T, ...]."""
    stream = data.streams[modality]
    return stream.values[stream.offsets[row] : stream.offsets[row + 1]]
