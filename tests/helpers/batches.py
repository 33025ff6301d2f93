"""Batches and transfer sets with one stream changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

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


def longer(batch: Batch, steps: int = 9, *, noisy_frames: bool = False) -> Batch:
    """The same utterances with more padding, in which pieces are words and pictures grey; frames are 0 or noise."""
    for modality, stream in batch.streams.items():
        mask = nn.functional.pad(stream.mask, (0, steps))
        widened = torch.zeros(len(batch), mask.shape[1], *stream.values.shape[2:], dtype=stream.values.dtype)
        widened[:, : stream.values.shape[1]] = stream.values
        if stream.values.dtype.is_floating_point:
            widened[~mask] = 50.0 * noisy_frames
        else:
            widened[~mask] = 11
        batch = with_values(batch, modality, widened, mask)
    return batch


def without_steps(batch: Batch, row: int) -> Batch:
    """The batch with no valid step in any stream of one row."""
    for modality, stream in batch.streams.items():
        mask = stream.mask.clone()
        mask[row] = False
        batch = with_values(batch, modality, mask=mask)
    return batch


def with_stream(data: TransferSet, modality: Modality, **parts: Any) -> TransferSet:
    """The transfer set with other `values` or `offsets` in one of its streams."""
    return replace(data, streams={**data.streams, modality: replace(data.streams[modality], **parts)})


def row_of(data: TransferSet, modality: Modality, row: int) -> Any:
    """What the transfer set holds of one row, [T, ...]."""
    stream = data.streams[modality]
    return stream.values[stream.offsets[row] : stream.offsets[row + 1]]
