"""Utterances that do without some of their modalities: in training, in evaluation, and where a corpus lacks them.

What is absent becomes nothing (zeros, padding pieces, a black picture) of one valid step, so that no attention is
left without a key, and `present` says so. A student that has learned tokens for what misses puts them there; every
other one sees one frame of the train split's mean, which 0 is of what is normalised, no words, darkness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trainables.batching import Batch, SegmentBatch, StreamBatch, TeacherBatch
from trainables.spec.base import Modality


def without(batch: Batch, absent: Mapping[Modality, Tensor], pad_id: int) -> Batch:
    """The batch in which the rows `absent[m]` (bool [B]) have no modality m; `pad_id`: the piece of the padding.

    A student that reads the teachers' sequences loses those of m, and with the audio its segments.
    """
    streams, teachers = dict(batch.streams), dict(batch.teachers)
    for modality, rows in absent.items():
        if modality in streams:
            streams[modality] = _emptied(streams[modality], rows, pad_id if modality == "text" else 0)
        if modality in teachers and teachers[modality].frames is not None:
            teachers[modality] = _unheard(teachers[modality], rows)
    segments = dict(batch.segments)
    if "audio" in absent:
        segments = {g: _unsaid(spans, absent["audio"]) for g, spans in segments.items()}
    return replace(batch, streams=streams, teachers=teachers, segments=segments)


def only(batch: Batch, modalities: Sequence[Modality], kept: Sequence[Modality], pad_id: int) -> Batch:
    """The batch of a student of `modalities` with no other than `kept` in any row.

    What no row has is one step long, so that a pass over a part costs what the part does.
    """
    gone = [m for m in modalities if m not in kept]
    every = torch.ones(len(batch), dtype=torch.bool, device=batch.index.device)
    streams = {m: _shortest(s) if m in gone else s for m, s in batch.streams.items()}
    return without(replace(batch, streams=streams), dict.fromkeys(gone, every), pad_id)


def drawn(batch: Batch, modalities: Sequence[Modality], chance: Tensor, p: float) -> dict[Modality, Tensor]:
    """Which rows (bool [B]) do without which modality: each with probability `p`, but never all that is there.

    chance: uniform draws within [0, 1), [B, modalities]. Where all that is there would go, that with the greatest
    draw stays.
    """
    there = torch.stack([_there(batch, m) for m in modalities], dim=1)
    goes = (chance < p) & there
    last = (there & ~goes).sum(dim=1) == 0
    stays = chance.masked_fill(~there, -1.0).argmax(dim=1)
    rows = torch.arange(len(batch), device=goes.device)
    goes[rows[last], stays[last]] = False
    return {m: goes[:, i] for i, m in enumerate(modalities)}


def _shortest(stream: StreamBatch) -> StreamBatch:
    return replace(stream, values=stream.values[:, :1], mask=stream.mask[:, :1])


def _there(batch: Batch, modality: Modality) -> Tensor:
    stream = batch.streams.get(modality)
    return torch.ones(len(batch), dtype=torch.bool, device=batch.index.device) if stream is None else stream.present


def _first(mask: Tensor, rows: Tensor) -> Tensor:
    """The mask with only the first step valid in `rows`."""
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return torch.where(rows[:, None], first, mask)


def _filled(values: Tensor, rows: Tensor, padding: int) -> Tensor:
    return values.masked_fill(rows.view(-1, *[1] * (values.ndim - 1)), padding)


def _emptied(stream: StreamBatch, rows: Tensor, padding: int) -> StreamBatch:
    return StreamBatch(_filled(stream.values, rows, padding), _first(stream.mask, rows), stream.present & ~rows)


def _unheard(teacher: TeacherBatch, rows: Tensor) -> TeacherBatch:
    assert teacher.frames is not None and teacher.frame_mask is not None
    return replace(teacher, frames=_filled(teacher.frames, rows, 0), frame_mask=_first(teacher.frame_mask, rows))


def _unsaid(segments: SegmentBatch, rows: Tensor) -> SegmentBatch:
    return SegmentBatch(_filled(segments.spans, rows, 0), segments.mask & ~rows[:, None])
