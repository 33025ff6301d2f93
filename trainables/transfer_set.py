"""What a student trains on: its own features joined with the teachers' outputs, one row an utterance.

Stored as the artifact `transfer_sets/<fingerprint>/`: `shard-NNNNN.parquet` (zstd, in the corpus's order),
`token_table.safetensors` where there is a text teacher, and the record, whose `info` is the metadata that
`TransferSet.open` reads. A node decodes it once into uncompressed `.npy` files that every trial memory-maps,
so that the K-th trial on a node needs no more memory for data than the first.
"""

from __future__ import annotations

import fcntl
import json
import math
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from trainables.artifacts import Record, fetch, read_record
from trainables.errors import ArtifactError, CorpusError
from trainables.spec.base import MODALITIES, Modality
from trainables.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

SCHEMA_VERSION = 3
TOKEN_TABLE = "token_table.safetensors"
_META = "meta.json"
_STRINGS = ("uid", "split", "dialogue", "speaker")
_NUMBERS = (("label", "int64"), ("text_hash", "int64"), ("seconds", "float32"))
LIST_MOST = int(np.iinfo(np.int32).max)
"""Values that a column of Arrow lists numbers in int32: those of 131 071 pictures of 128 by 128."""
_ABSENT = "has_{}"
"""The column that says where a modality is there; a modality without it is there in every row."""

StreamKind = Literal["log_mel", "tokens", "images", "vectors"]
STREAM_TYPES: dict[StreamKind, str] = {
    "log_mel": "float16",
    "tokens": "int32",
    "images": "uint8",
    "vectors": "float16",
}
HALF_MAX = 65504.0
"""The largest number of float16."""
NORMALISED: tuple[StreamKind, ...] = ("log_mel", "vectors")
"""What is stored as it is and normalised, when a node decodes it, with the train split's mean and deviation."""


def prefix(fingerprint: str) -> str:
    return f"transfer_sets/{fingerprint}"


def shard_name(index: int) -> str:
    return f"shard-{index:05d}.parquet"


def step_shape(kind: StreamKind, width: int) -> tuple[int, ...]:
    """Of one step of a stream: a number of a piece, a square picture, or a vector."""
    return {"tokens": (), "images": (width, width), "log_mel": (width,), "vectors": (width,)}[kind]


def stream_column(modality: str) -> str:
    """Its name in the shards."""
    return f"{modality}.stream"


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
    def open(cls, folder: Path) -> TransferSet:
        """Map the files that `materialise` left; costs no memory until rows are read."""
        if not (folder / _META).exists():
            raise ArtifactError(f"{folder}: not a materialised transfer set; call materialise first")
        meta = json.loads((folder / _META).read_text("utf-8"))

        def load(name: str) -> Any:
            path = folder / f"{name}.npy"
            return np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None

        columns = {name: load(name) for name in (*_STRINGS, *(n for n, _ in _NUMBERS))}
        streams: dict[Modality, Stream] = {
            m: Stream(s["kind"], s["width"], load(stream_column(m)), load(f"{stream_column(m)}_offsets"))
            for m, s in meta["streams"].items()
        }
        there = {m: load(_ABSENT.format(m)) for m in MODALITIES}
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
            **columns,
            **scalars,
        )


def materialise(storage: Storage, fingerprint: str, cache: Path) -> Path:
    """Decode the stored shards into `cache/<fingerprint>/`, once a node, and return that folder.

    Every shard is checked against the record's checksum. Processes that ask at the same time wait for the one
    that decodes; a process that dies on the way leaves nothing that counts.
    """
    target = cache / fingerprint
    if (target / _META).exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f".{fingerprint}.lock"):
        if (target / _META).exists():
            return target
        record = read_record(storage, prefix(fingerprint))
        if record is None:
            raise ArtifactError(f"{storage.url(prefix(fingerprint))}: no record; the harvest has not finished")
        temporary = cache / f".{fingerprint}.{uuid.uuid4().hex[:8]}"
        temporary.mkdir()
        try:
            _decode(storage, record, temporary)
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return target


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)


def _decode(storage: Storage, record: Record, folder: Path) -> None:
    """Shard by shard into arrays of the final size, so that memory holds one shard at a time."""
    import pyarrow.parquet as pq

    writer = _Writer(folder, record.info, sum(record.rows.values()))
    for key in sorted(k for k in record.files if k.endswith(".parquet")):
        fetch(storage, prefix(record.fingerprint), folder, only=[key])
        writer.add(pq.read_table(folder / key))
        (folder / key).unlink()
    if TOKEN_TABLE in record.files:
        from safetensors.numpy import load_file

        fetch(storage, prefix(record.fingerprint), folder, only=[TOKEN_TABLE])
        np.save(folder / "token_table.npy", load_file(folder / TOKEN_TABLE)["weight"])
        (folder / TOKEN_TABLE).unlink()
    writer.close()
    meta = {**record.info, "fingerprint": record.fingerprint}
    (folder / _META).write_text(json.dumps(meta), "utf-8")


class _Writer:
    """Fills `.npy` files of known size from consecutive tables."""

    def __init__(self, folder: Path, info: dict[str, Any], rows: int) -> None:
        self._folder, self._info, self._rows, self._done = folder, info, rows, 0
        self._strings: dict[str, list[Any]] = {name: [] for name in _STRINGS}
        self._arrays: dict[str, Any] = {}
        self._offsets: dict[str, list[int]] = {}

    def add(self, table: pa.Table) -> None:
        for name in _STRINGS:
            self._strings[name].extend(table.column(name).to_pylist())
        for name, dtype in _NUMBERS:
            values = table.column(name).to_numpy(zero_copy_only=False)
            self._array(name, dtype, ())[self._done : self._done + len(table)] = values
        names = set(table.column_names)
        for modality, stream in self._info["streams"].items():
            self._stream(table, modality, stream)
        for flag in names & {_ABSENT.format(m) for m in MODALITIES}:
            values = table.column(flag).to_numpy(zero_copy_only=False)
            self._array(flag, "bool", ())[self._done : self._done + len(table)] = values
        for name in names & {"votes", "targets"}:
            self._fixed(table, name, "float32", (len(self._info["labels"]),))
        for granularity in self._info.get("segments", ()):
            name = f"{granularity}.segments"
            self._sequence(table, name, f"{granularity}.segment_offsets", "int32", (2,))
        for teacher, width in self._info["dims"].items():
            self._fixed(table, f"{teacher}.logits", "float32", (len(self._info["labels"]),))
            self._fixed(table, f"{teacher}.pooled", "float16", (width,))
            if f"{teacher}.attention" in names:
                self._fixed(table, f"{teacher}.attention", "float16", (self._info["grid"],) * 2)
            if f"{teacher}.frames" in names:
                self._sequence(table, f"{teacher}.frames", f"{teacher}.frame_offsets", "float16", (width,))
        self._done += len(table)

    def close(self) -> None:
        if self._done != self._rows:
            raise ArtifactError(f"the shards hold {self._done} rows, their record says {self._rows}")
        for name, values in self._strings.items():
            np.save(self._folder / f"{name}.npy", np.asarray(values, dtype=np.str_))
        for name, ends in self._offsets.items():
            np.save(self._folder / f"{name}.npy", np.asarray(ends, dtype=np.int64))
        for array in self._arrays.values():
            array.flush()
        self._arrays.clear()

    def _array(self, name: str, dtype: str, shape: tuple[int, ...], length: int | None = None) -> Any:
        if name not in self._arrays:
            full = (self._rows if length is None else length, *shape)
            path = self._folder / f"{name}.npy"
            self._arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=full)
        return self._arrays[name]

    def _fixed(self, table: pa.Table, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        values, _ = flat(table, name)
        out = self._array(name, dtype, shape)
        out[self._done : self._done + len(table)] = values.reshape(len(table), *shape)

    def _stream(self, table: pa.Table, modality: str, stream: dict[str, Any]) -> None:
        name, kind = stream_column(modality), stream["kind"]
        shape, scale = step_shape(kind, stream["width"]), None
        if kind in NORMALISED:
            scale = tuple(np.asarray(stream[key], dtype=np.float32) for key in ("mean", "std"))
        self._sequence(table, name, f"{name}_offsets", STREAM_TYPES[kind], shape, scale)

    def _sequence(  # noqa: PLR0917
        self,
        table: pa.Table,
        name: str,
        offsets_name: str,
        dtype: str,
        shape: tuple[int, ...],
        scale: tuple[Any, ...] | None = None,
    ) -> None:
        """Append rows of differing length; `shape`: of one step; `scale`: (mean, deviation) to normalise with."""
        values, lengths = flat(table, name)
        ends = self._offsets.setdefault(offsets_name, [0])
        start = ends[-1]
        for length in lengths // math.prod(shape):
            ends.append(ends[-1] + int(length))
        values = values.reshape(-1, *shape)
        if scale is not None:
            mean, std = scale
            values = np.clip((values.astype(np.float32) - mean) / std, -HALF_MAX, HALF_MAX)
        out = self._array(name, dtype, shape, self._info["lengths"][name])
        out[start : ends[-1]] = values


def flat(table: pa.Table, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """A list column as its values end to end and the length of each row."""
    column = table.column(name).combine_chunks()
    lengths = np.diff(column.offsets.to_numpy()).astype(np.int64)
    return column.flatten().to_numpy(zero_copy_only=False), lengths


def list_column(values: Sequence[NDArray[Any]], dtype: Any) -> pa.Array:
    """Rows of any shape as a list column of their values, a large one where an int32 cannot number them."""
    import pyarrow as pa

    offsets = np.cumsum([0, *(v.size for v in values)], dtype=np.int64)
    joined = pa.array(np.concatenate([np.asarray(v, dtype=dtype).ravel() for v in values]))
    if offsets[-1] > LIST_MOST:
        return pa.LargeListArray.from_arrays(pa.array(offsets), joined)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), joined)
