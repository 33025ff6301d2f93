"""Rows of a transfer set -> padded batches: masks, length buckets, and an order that depends on the seed alone.

On the CPU the flat arrays stay memory-mapped, and a batch is one gather by index arithmetic; on an accelerator
they are copied there once, as float16.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.errors import ArtifactError
from trainables.spec.base import OVER_TIME, Modality, in_order
from trainables.spec.needs import Needs
from trainables.spec.student import AnyStudent
from trainables.transfer_set import StreamKind, TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

POOL_BATCHES = 16
"""Batches drawn from one pool, within which samples are sorted by length: random enough, little padding."""
FRAMES_PER_STEP: dict[StreamKind, int] = {"log_mel": 1, "tokens": 4, "images": 16, "vectors": 4}
"""What a step costs against a log-mel frame in an utterance's length (a stem halves log-mel frames twice)."""


@dataclass(frozen=True)
class TeacherBatch:
    logits: Tensor
    """[B, C] float32"""
    pooled: Tensor
    """[B, D] float32"""
    attention: Tensor | None = None
    """[B, G, G] float32"""
    frames: Tensor | None = None
    """[B, T, D] float32, 0 in the padding."""
    frame_mask: Tensor | None = None
    """[B, T] bool"""


@dataclass(frozen=True)
class SegmentBatch:
    """Spans of one granularity in the audio teacher's frames."""

    spans: Tensor
    """[B, S, 2] int64: the first frame and the one after the last; (0, 0) in the padding."""
    mask: Tensor
    """[B, S] bool; all False where the utterance is not aligned."""


@dataclass(frozen=True)
class StreamBatch:
    """One modality of B utterances, padded at the end."""

    values: Tensor
    """[B, T, mel or D] float32, [B, L] int64 pieces, or [B, T, side, side] uint8 pictures; 0 (or the padding piece)
    in the padding."""
    mask: Tensor
    """[B, T] bool, True where the content is valid; the first step always is."""
    present: Tensor
    """[B] bool, whether the modality is there at all; where it is not, the values say nothing."""


@dataclass(frozen=True)
class Batch:
    """B utterances."""

    index: Tensor
    """[B] int64, rows of the transfer set."""
    labels: Tensor
    """[B] int64, or [B, C] float32 of 0 and 1 where an utterance may have several."""
    text_hash: Tensor
    """[B] int64"""
    weights: Tensor
    """[B] float32, 1 = full weight in the loss."""
    streams: dict[Modality, StreamBatch]
    """What the student reads, in the order of MODALITIES."""
    teachers: dict[str, TeacherBatch]
    votes: Tensor | None = None
    """[B, C] float32, the share of the raters; NaN where nobody was asked."""
    segments: dict[str, SegmentBatch] = field(default_factory=dict)
    """By granularity."""

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: str | torch.device) -> Batch:
        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device)

        def moved(values: dict[str, Any]) -> dict[str, Any]:
            return {k: move(v) for k, v in values.items() if not isinstance(v, dict)}

        streams = {m: StreamBatch(**moved(vars(s))) for m, s in self.streams.items()}
        teachers = {n: TeacherBatch(**moved(vars(t))) for n, t in self.teachers.items()}
        segments = {n: SegmentBatch(**moved(vars(s))) for n, s in self.segments.items()}
        return replace(self, **moved(vars(self)), streams=streams, teachers=teachers, segments=segments)


def as_tensor(array: NDArray[Any], device: str | torch.device = "cpu") -> Tensor:
    """A tensor over the array's own memory (never written to), or its copy on another device."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array)).to(device)


@dataclass(frozen=True)
class Ragged:
    """Sequences end to end: sequence i is `values[starts[i] : starts[i] + lengths[i]]`."""

    values: Tensor
    starts: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, values: NDArray[Any], offsets: NDArray[np.int64], device: str | torch.device) -> Ragged:
        starts = as_tensor(offsets, device)
        return cls(as_tensor(values, device), starts[:-1], starts[1:] - starts[:-1])

    def pad(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """([B, T, ...] values, [B, T] mask), T the longest, at least 1; what the padding holds is undefined."""
        lengths = self.lengths[index]
        steps = torch.arange(max(1, int(lengths.max())), device=index.device)
        mask = steps < lengths[:, None]
        # Where no row has a step, as when nothing of a corpus is aligned, there is none to put into the padding.
        values = self.values if len(self.values) else self.values.new_zeros(1, *self.values.shape[1:])
        where = (self.starts[index, None] + steps).clamp(max=len(values) - 1)
        gathered = values.index_select(0, where.flatten())
        return gathered.view(*where.shape, *self.values.shape[1:]), mask


class Batcher:
    """Makes batches of what a student reads, and of what its method reads of the teachers."""

    def __init__(
        self,
        data: TransferSet,
        student: AnyStudent,
        needs: Needs | None = None,
        teachers: Sequence[str] = (),
        device: str | torch.device = "cpu",
    ) -> None:
        """`needs`: of the whole run, None for the student alone; ArtifactError where the transfer set lacks any."""
        needs = needs or student.needs
        self.pad_id, self._device = data.pad_id, device
        self._labels, self._text_hash = as_tensor(data.truth, device), as_tensor(data.text_hash, device)
        self._votes = _votes(data, device) if needs.votes else None
        modalities = in_order(student.modalities) if student.reads_features else ()
        self._streams: dict[Modality, Ragged] = {m: _stream(data, m, device) for m in modalities}
        self._kinds = {m: data.streams[m].kind for m in modalities}
        self._there = {m: as_tensor(data.present(m), device) for m in modalities}
        self._segments: dict[str, Ragged] = {g: _segments(data, g, device) for g in needs.segments}
        self._sequences: dict[str, Ragged] = {
            m: _sequences(data, m, device) for m in student.modalities if needs.frames
        }
        self._teachers = {name: _teacher(data, name, needs.attention, device) for name in teachers}
        self.lengths = self._lengths().cpu().numpy()
        """[N] cost of each row in frames, by which batches are bucketed."""

    def batch(self, index: NDArray[np.int64], weights: NDArray[np.float32] | None = None) -> Batch:
        """The rows `index`, in that order. `weights` [N] is over the whole transfer set."""
        targets = self.targets(index, weights)
        streams = {m: self._padded(m, targets.index) for m in self._streams}
        teachers = dict(targets.teachers)
        for name, sequence in self._sequences.items():
            values, mask = sequence.pad(targets.index)
            read = {"frames": values.float().mul_(mask[..., None]), "frame_mask": mask}
            teachers[name] = replace(teachers.get(name, _NOTHING), **read)
        segments = {g: self._spans(ragged, targets.index) for g, ragged in self._segments.items()}
        return replace(targets, streams=streams, teachers=teachers, segments=segments)

    def _padded(self, modality: Modality, rows: Tensor) -> StreamBatch:
        values, mask = self._streams[modality].pad(rows)
        kind = self._kinds[modality]
        if kind == "tokens":
            values = values.long().masked_fill_(~mask, self.pad_id)
        elif kind == "images":
            values = values * mask[..., None, None]
        else:
            values = values.float().mul_(mask[..., None])
        return StreamBatch(values, mask, self._there[modality][rows])

    def targets(self, index: NDArray[np.int64], weights: NDArray[np.float32] | None = None) -> Batch:
        """The same without what the student reads: enough for a loss."""
        rows = torch.from_numpy(index).to(self._device)
        chosen = np.ones(len(index), np.float32) if weights is None else weights[index]
        return Batch(
            index=rows,
            labels=self._labels[rows],
            text_hash=self._text_hash[rows],
            weights=torch.from_numpy(chosen).to(self._device),
            streams={},
            teachers=self._pick(rows),
            votes=None if self._votes is None else self._votes[rows],
        )

    def _pick(self, rows: Tensor) -> dict[str, TeacherBatch]:
        def pick(values: Tensor | None) -> Tensor | None:
            return None if values is None else values.index_select(0, rows).float()

        return {
            name: TeacherBatch(**{k: pick(v) for k, v in vars(whole).items()})  # type: ignore[arg-type]
            for name, whole in self._teachers.items()
        }

    @staticmethod
    def _spans(ragged: Ragged, rows: Tensor) -> SegmentBatch:
        values, mask = ragged.pad(rows)
        return SegmentBatch(values.long().mul_(mask[..., None]), mask)

    def _lengths(self) -> Tensor:
        total = torch.zeros(len(self._labels), dtype=torch.int64, device=self._labels.device)
        for modality, stream in self._streams.items():
            total = total + FRAMES_PER_STEP[self._kinds[modality]] * stream.lengths
        for sequence in self._sequences.values():
            total = total + sequence.lengths
        return total


_NOTHING = TeacherBatch(torch.empty(0), torch.empty(0))
"""Of a teacher whose sequences are read, and neither its logits nor its vectors."""


def _votes(data: TransferSet, device: str | torch.device) -> Tensor:
    if data.votes is None:
        raise ArtifactError(f"transfer set {data.fingerprint}: no votes of raters, and the run reads them")
    return as_tensor(data.votes, device)


def _segments(data: TransferSet, granularity: str, device: str | torch.device) -> Ragged:
    if granularity not in data.segments:
        raise ArtifactError(
            f"transfer set {data.fingerprint}: no {granularity} segments, and the student reads them"
        )
    found = data.segments[granularity]
    return Ragged.of(found.spans, found.offsets, device)


def _sequences(data: TransferSet, teacher: str, device: str | torch.device) -> Ragged:
    outputs = data.teachers.get(teacher)
    if outputs is None or outputs.frames is None or outputs.frame_offsets is None:
        raise ArtifactError(f"transfer set {data.fingerprint}: no sequences of the {teacher} teacher")
    return Ragged.of(outputs.frames, outputs.frame_offsets, device)


def _stream(data: TransferSet, modality: Modality, device: str | torch.device) -> Ragged:
    if modality not in data.streams:
        raise ArtifactError(
            f"transfer set {data.fingerprint}: it has {', '.join(data.streams) or 'no stream'}, and the student "
            f"reads {modality}"
        )
    found = data.streams[modality]
    return Ragged.of(found.values, found.offsets, device)


def _teacher(data: TransferSet, name: str, attention: bool, device: str | torch.device) -> TeacherBatch:
    """The teacher's columns over all N rows, as stored."""
    if name not in data.teachers:
        raise ArtifactError(
            f"transfer set {data.fingerprint}: no outputs of the {name} teacher, only {sorted(data.teachers)}"
        )
    outputs = data.teachers[name]
    if attention and name in OVER_TIME and outputs.attention is None:
        raise ArtifactError(f"transfer set {data.fingerprint}: no attention maps of the {name} teacher")
    maps = outputs.attention if attention else None
    return TeacherBatch(
        logits=as_tensor(outputs.logits, device),
        pooled=as_tensor(outputs.pooled, device),
        attention=None if maps is None else as_tensor(maps, device),
    )


def epoch_batches(
    rows: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Every row once, in batches of nearly equal size, at most `batch_size`; a function of (seed, epoch) alone.

    `lengths` is over the whole transfer set. Nearly equal: a last batch of one row would have no negatives.
    """
    rng = np.random.default_rng([seed, epoch])
    shuffled = rows[rng.permutation(len(rows))]
    batches: list[NDArray[np.int64]] = []
    count = -(-len(rows) // batch_size)
    pools = -(-count // POOL_BATCHES)
    for pool in np.array_split(shuffled, pools) if len(rows) else []:
        ordered = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(np.array_split(ordered, -(-len(ordered) // batch_size)))
    return [batches[i] for i in rng.permutation(len(batches))]


def sorted_batches(rows: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Every row once, shortest first: for evaluation, where the order does not matter."""
    ordered = rows[np.argsort(lengths[rows], kind="stable")]
    return list(np.array_split(ordered, -(-len(ordered) // batch_size)))
