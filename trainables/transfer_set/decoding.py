"""A stored transfer set as the `.npy` files that a node maps: what room they take, and writing them.

Every file is written front to back, never through a mapping: on a disk that is full a write is an error that can be
told, and a store into mapped memory kills the process.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.artifacts import Record, verified
from trainables.errors import ArtifactError
from trainables.spec.base import MODALITIES
from trainables.storage import Storage
from trainables.transfer_set.files import (
    HALF_MAX,
    META,
    NORMALISED,
    NUMBERS,
    PRESENCE,
    STREAM_TYPES,
    STRINGS,
    TOKEN_TABLE,
    flat,
    prefix,
    step_shape,
    stream_column,
)

if TYPE_CHECKING:
    import pyarrow as pa

_STRING_BYTES = 200
"""Reckoned for each string of a row: 50 characters."""


def decoded_size(record: Record) -> int:
    """Bytes that decoding takes at its most, about: the files, and beside them the largest shard as stored."""
    info, rows = record.info, sum(record.rows.values())
    classes, lengths = len(info["labels"]), info["lengths"]
    row = sum(np.dtype(kind).itemsize for _, kind in NUMBERS) + len(STRINGS) * _STRING_BYTES + len(MODALITIES)
    row += 2 * 4 * classes  # votes and targets
    maps = 2 * info["grid"] ** 2 if record.spec.get("needs", {}).get("attention") else 0
    row += sum(4 * classes + 2 * width + maps for width in info["dims"].values())
    steps = {f"{teacher}.frames": 2 * width for teacher, width in info["dims"].items()}
    steps |= {f"{granularity}.segments": 2 * 4 for granularity in info.get("segments", ())}
    for modality, stream in info["streams"].items():
        kind = np.dtype(STREAM_TYPES[stream["kind"]])
        steps[stream_column(modality)] = kind.itemsize * math.prod(step_shape(stream["kind"], stream["width"]))
    sequences = sum(lengths[name] * size + 8 * (rows + 1) for name, size in steps.items() if name in lengths)
    shards = [file.size for key, file in record.files.items() if key != TOKEN_TABLE]
    table = record.files[TOKEN_TABLE].size if TOKEN_TABLE in record.files else 0
    return int(rows * row + sequences + table + max(shards, default=0))


def decode(storage: Storage, record: Record, folder: Path) -> None:
    """Shard by shard, each checked before it is read, so that memory holds one of them at a time."""
    import pyarrow.parquet as pq

    place, writer = prefix(record.fingerprint), _Writer(folder, record.info, sum(record.rows.values()))
    try:
        for key in sorted(k for k in record.files if k.endswith(".parquet")):
            with verified(storage, place, key, record.files, scratch=folder) as path, path.open("rb") as handle:
                writer.add(pq.read_table(handle))
        if TOKEN_TABLE in record.files:
            from safetensors.numpy import load_file

            with verified(storage, place, TOKEN_TABLE, record.files, scratch=folder) as path:
                _save(folder / "token_table.npy", load_file(path)["weight"])
    finally:
        writer.close()
    writer.check()
    meta = {**record.info, "fingerprint": record.fingerprint}
    (folder / META).write_text(json.dumps(meta), "utf-8")


class _Npy:
    """An `.npy` file of known shape that is filled row by row."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, ...]) -> None:
        self.path, self.rows, self.done = path, shape[0], 0
        self._dtype, self._step = np.dtype(dtype), shape[1:]
        self._handle = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._handle, header)

    def append(self, values: Any) -> None:
        rows = np.ascontiguousarray(values, dtype=self._dtype).reshape(-1, *self._step)
        self._handle.write(rows.reshape(-1).view(np.uint8).data)
        self.done += len(rows)

    def close(self) -> None:
        self._handle.close()


def _save(path: Path, values: Any) -> None:
    """As `np.save`, which hides from its error that the disk was full."""
    file = _Npy(path, values.dtype.str, values.shape)
    try:
        file.append(values)
    finally:
        file.close()


class _Writer:
    """Fills `.npy` files of known size from consecutive tables."""

    def __init__(self, folder: Path, info: dict[str, Any], rows: int) -> None:
        self._folder, self._info, self._rows, self._done = folder, info, rows, 0
        self._strings: dict[str, list[Any]] = {name: [] for name in STRINGS}
        self._files: dict[str, _Npy] = {}
        self._offsets: dict[str, list[int]] = {}

    def add(self, table: pa.Table) -> None:
        for name in STRINGS:
            self._strings[name].extend(table.column(name).to_pylist())
        names = set(table.column_names)
        flags = [(flag, "bool") for flag in (PRESENCE.format(m) for m in MODALITIES) if flag in names]
        for name, dtype in (*NUMBERS, *flags):
            self._file(name, dtype, ()).append(table.column(name).to_numpy(zero_copy_only=False))
        for modality, stream in self._info["streams"].items():
            self._stream(table, modality, stream)
        for name in sorted(names & {"votes", "targets"}):
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
        for file in self._files.values():
            file.close()

    def check(self) -> None:
        """Write what is known at the end alone, and see that no file is shorter than its head says."""
        if self._done != self._rows:
            raise ArtifactError(f"the shards hold {self._done} rows, their record says {self._rows}")
        for name, file in self._files.items():
            if file.done != file.rows:
                raise ArtifactError(f"the shards hold {file.done} steps of {name}, their record says {file.rows}")
        for name, values in self._strings.items():
            _save(self._folder / f"{name}.npy", np.asarray(values, dtype=np.str_))
        for name, ends in self._offsets.items():
            _save(self._folder / f"{name}.npy", np.asarray(ends, dtype=np.int64))

    def _file(self, name: str, dtype: str, shape: tuple[int, ...], length: int | None = None) -> _Npy:
        if name not in self._files:
            full = (self._rows if length is None else length, *shape)
            self._files[name] = _Npy(self._folder / f"{name}.npy", dtype, full)
        return self._files[name]

    def _fixed(self, table: pa.Table, name: str, dtype: str, shape: tuple[int, ...]) -> None:
        values, _ = flat(table, name)
        self._file(name, dtype, shape).append(values.reshape(len(table), *shape))

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
        for length in lengths // math.prod(shape):
            ends.append(ends[-1] + int(length))
        values = values.reshape(-1, *shape)
        if scale is not None:
            mean, std = scale
            values = np.clip((values.astype(np.float32) - mean) / std, -HALF_MAX, HALF_MAX)
        self._file(name, dtype, shape, self._info["lengths"][name]).append(values)
