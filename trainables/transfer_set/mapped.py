"""A transfer set as this node has it: its columns, memory-mapped.

A node decodes it once into uncompressed `.npy` files that every trial maps, so that the K-th trial on a node needs
no more memory for data than the first. They lie in the node's cache, which evicts what no process has mapped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.artifacts import is_name, read_record
from trainables.errors import ArtifactError, CorpusError
from trainables.node_cache import Lease, NodeCache, Recipe, hold
from trainables.spec.base import MODALITIES, Modality
from trainables.storage import Storage
from trainables.transfer_set.decoding import decode, decoded_size
from trainables.transfer_set.files import META, NUMBERS, PRESENCE, STRINGS, StreamKind, prefix, stream_column

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stream:
    """What a student reads of one modality, memory-mapped; row i is `values[offsets[i] : offsets[i + 1]]`."""

    kind: StreamKind
    width: int
    """Mel bands; pieces of the vocabulary; side of the pictures; width of the vectors."""
    values: NDArray[Any]
    """[sum T, mel] float16 log-mel, [sum L] int32 pieces, [sum T, side, side] uint8 grey, [sum T, D] float16."""
    offsets: NDArray[np.int64]
    """[N + 1]; a row has at least one step, whatever of it is there."""


@dataclass(frozen=True)
class TeacherOutputs:
    """One teacher's word on every utterance, memory-mapped, row for row with the transfer set."""

    logits: NDArray[np.float32]
    """[N, C]"""
    pooled: NDArray[np.float16]
    """[N, D]"""
    attention: NDArray[np.float16] | None = None
    """[N, G, G], head-averaged map of the last layer over the valid positions, resized to the grid."""
    frames: NDArray[np.float16] | None = None
    """[sum T, D], the sequence that was pooled; row i is `frames[frame_offsets[i]:frame_offsets[i + 1]]`."""
    frame_offsets: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Segments:
    """Spans of frames end to end, memory-mapped."""

    spans: NDArray[np.int32]
    """[sum S, 2]: the first frame and the one after the last."""
    offsets: NDArray[np.int64]
    """[N + 1]; a row without an alignment has no span."""


@dataclass(frozen=True)
class TransferSet:
    """Memory-mapped columns of N utterances. Read-only: copy a batch before writing into it."""

    labels: tuple[str, ...]
    uid: NDArray[np.str_]
    split: NDArray[np.str_]
    speaker: NDArray[np.str_]
    dialogue: NDArray[np.str_]
    label: NDArray[np.int64]
    """[N], index into `labels`; -1 where an utterance may have several."""
    text_hash: NDArray[np.int64]
    seconds: NDArray[np.float32]
    streams: dict[Modality, Stream]
    """In the order of MODALITIES."""
    teachers: dict[str, TeacherOutputs]
    token_table: NDArray[np.float32] | None
    """[V, D], the fine-tuned text teacher's own embedding of the student's vocabulary."""
    pad_id: int
    fingerprint: str
    stand_in: bool
    there: dict[Modality, NDArray[np.bool_]] = field(default_factory=dict)
    """[N], False where silence or a black picture stands in for what could not be read; a modality that is not
    named is there in every row."""
    targets: NDArray[np.float32] | None = None
    """[N, C] of 0 and 1, where an utterance may have several labels."""
    votes: NDArray[np.float32] | None = None
    """[N, C], the share of the raters that chose each label; NaN where nobody was asked."""
    segments: dict[str, Segments] = field(default_factory=dict)
    """By granularity, in frames of the audio teacher."""
    lease: Lease | None = field(default=None, repr=False, compare=False)
    """Keeps the files from being evicted."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def multi_label(self) -> bool:
        return self.targets is not None

    @property
    def truth(self) -> NDArray[Any]:
        """What is foretold: the label [N], or [N, C] where an utterance may have several."""
        return self.label if self.targets is None else self.targets

    def present(self, modality: Modality) -> NDArray[np.bool_]:
        """[N], whether the modality is there."""
        found = self.there.get(modality)
        return np.ones(len(self), dtype=bool) if found is None else found

    def rows(self, split: str, modalities: Sequence[Modality]) -> NDArray[np.int64]:
        """The row numbers of a split, ascending.

        Train rows of which no modality that is read is there are left out, and those without audio where audio is
        read with text alone: silence beside words teaches nothing. Dev and test keep every row.
        """
        chosen = np.asarray(self.split == split)
        if split == "train" and modalities:
            chosen = chosen & self._learnable(modalities)
        if not chosen.any():
            raise CorpusError(f"transfer set {self.fingerprint}: split {split!r} has no usable row")
        return np.flatnonzero(chosen).astype(np.int64)

    def _learnable(self, modalities: Sequence[Modality]) -> NDArray[np.bool_]:
        if "audio" in modalities and "visual" not in modalities:
            return self.present("audio")
        return np.asarray(np.any([self.present(m) for m in modalities], axis=0))

    @classmethod
    def fetched(cls, storage: Storage, fingerprint: str, cache: Path) -> TransferSet:
        """Materialised where this node has it not yet, then mapped; not evicted as long as this refers to it."""
        lease = _leased(storage, fingerprint, cache)
        return cls._mapped(lease.folder, lease)

    @classmethod
    def open(cls, folder: Path) -> TransferSet:
        """Map the files that `materialise` left; costs no memory until rows are read."""
        lease = hold(folder)
        if lease is None:
            raise ArtifactError(f"{folder}: not a materialised transfer set; call materialise first")
        return cls._mapped(folder, lease)

    @classmethod
    def _mapped(cls, folder: Path, lease: Lease) -> TransferSet:
        meta = json.loads((folder / META).read_text("utf-8"))

        def load(name: str) -> Any:
            path = folder / f"{name}.npy"
            return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

        columns = {name: load(name) for name in (*STRINGS, *(n for n, _ in NUMBERS))}
        streams: dict[Modality, Stream] = {
            m: Stream(s["kind"], s["width"], load(stream_column(m)), load(f"{stream_column(m)}_offsets"))
            for m, s in meta["streams"].items()
        }
        there = {m: load(PRESENCE.format(m)) for m in MODALITIES}
        parts = ("logits", "pooled", "attention", "frames", "frame_offsets")
        teachers = {t: TeacherOutputs(**{p: load(f"{t}.{p}") for p in parts}) for t in meta["dims"]}
        segments = {
            g: Segments(load(f"{g}.segments"), load(f"{g}.segment_offsets")) for g in meta.get("segments", ())
        }
        scalars = {k: meta[k] for k in ("pad_id", "fingerprint", "stand_in")}
        return cls(
            labels=tuple(meta["labels"]),
            teachers=teachers,
            streams=streams,
            there={m: found for m, found in there.items() if found is not None},
            targets=load("targets"),
            votes=load("votes"),
            segments=segments,
            token_table=load("token_table"),
            lease=lease,
            **columns,
            **scalars,
        )


def materialise(storage: Storage, fingerprint: str, cache: Path) -> Path:
    """Decode the stored shards into `cache/<fingerprint>/`, once a node, and return that folder.

    Every shard is checked against the record's checksum. Processes that ask at the same time wait for the one
    that decodes; a process that dies on the way leaves nothing that counts. What is not mapped may be evicted at
    any time: who goes on to read it takes `TransferSet.fetched`.
    """
    with _leased(storage, fingerprint, cache) as lease:
        return lease.folder


def _leased(storage: Storage, fingerprint: str, cache: Path) -> Lease:
    if not is_name(fingerprint):
        raise ArtifactError(f"transfer set {fingerprint!r}: no fingerprint, and it is to be a folder of the cache")

    def recipe() -> Recipe:
        record = read_record(storage, prefix(fingerprint))
        if record is None:
            raise ArtifactError(f"{storage.url(prefix(fingerprint))}: no record; the harvest has not finished")
        return Recipe(
            what=f"transfer set {fingerprint}",
            size=decoded_size(record),
            write=lambda folder: decode(storage, record, folder),
        )

    return NodeCache(cache).lease(fingerprint, recipe)
