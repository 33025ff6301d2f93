"""Rows of `trainables.corpus.schema()` into shards as they come, holding one shard's rows at a time."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from trainables.corpus import schema, write_shard
from trainables.spec.base import MODALITIES

SHARD_ROWS = 1024
SHARD_BYTES = 32 * 2**20
"""Bytes of sound, pictures and vectors after which a shard is closed; Arrow holds them twice more while writing."""


class ShardWriter:
    """`utterances-NNNNN.parquet` in `folder`; the same rows give the same bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._shards = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes += _size(row)
        if len(self._rows) >= SHARD_ROWS or self._bytes >= SHARD_BYTES:
            self._flush()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._rows:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        table = pa.Table.from_pylist(self._rows, schema=schema())
        path = self._folder / f"utterances-{self._shards:05d}.parquet"
        write_shard(table, path)
        self._rows, self._bytes, self._shards = [], 0, self._shards + 1


def _size(row: dict[str, Any]) -> int:
    """Bytes of what may be large in a row."""
    vectors = (row.get(f"{modality}_vectors") for modality in MODALITIES)
    numbers = sum(len(values) for values in vectors if values is not None)
    return len(row["audio"] or b"") + sum(map(len, row.get("images") or ())) + 4 * numbers
