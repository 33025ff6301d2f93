"""A manifest as a table of text, whether it is CSV or Parquet: an empty cell is "", whatever it was before."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.errors import CorpusError
from trainables.importers.files import plural
from trainables.importers.lfs import explain, is_stub

NAMES = ("manifest.csv", "manifest.parquet")
PLAIN = ("label", "audio", "video", "text", "split", "fold", "uid", "speaker", "dialogue", "start", "end")
BOX = ("box.left", "box.top", "box.right", "box.bottom")
VOTES = "votes."


@dataclass(frozen=True)
class Manifest:
    """`rows` have the columns that are read, all of them; others are not looked at."""

    path: Path
    columns: Sequence[str]
    rows: Sequence[dict[str, str]]

    def where(self, index: int) -> str:
        """A row as a spreadsheet numbers it."""
        return f"{self.path}: row {index + 2}"

    def require(self, column: str, why: str) -> None:
        if column not in self.columns:
            told = ", ".join(self.columns) or "empty"
            raise CorpusError(f"{self.path}: no column {column!r}, {why}; its header is {told}")

    def place(self, index: int, column: str = "audio") -> Path | None:
        """The file that the row names; None without one. CorpusError where it is outside the manifest's folder."""
        named = self.rows[index].get(column, "")
        folder = Path(os.path.normpath(self.path.parent.absolute()))
        found = Path(os.path.normpath(folder / named))
        if not found.is_relative_to(folder):
            raise CorpusError(
                f"{self.where(index)}: {column} {named!r} is outside {folder}; put the manifest above its files"
            )
        return found if named else None


def find_manifest(root: Path | None) -> Path:
    """The manifest itself, given or in the folder given."""
    if root is None:
        raise CorpusError("a manifest is needed: say where it lies with --root, or set ORCH_CORPORA__MANIFEST")
    found = [root / name for name in NAMES if (root / name).is_file()] if root.is_dir() else [root]
    if not found:
        raise CorpusError(f"{root}: neither {' nor '.join(NAMES)} is in it; give the manifest's own path")
    if len(found) > 1:
        raise CorpusError(f"{root}: both {' and '.join(NAMES)} are in it; give the path of the one that is meant")
    return found[0]


def read_manifest(path: Path) -> Manifest:
    """CorpusError for what is neither of the two kinds, or cannot be read as it."""
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise CorpusError(f"{path}: a manifest is a .csv or a .parquet file")
    if is_stub(path):
        raise CorpusError(explain(1, 1, path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    manifest = _parquet(path, data) if path.suffix.lower() == ".parquet" else _csv(path, data)
    twice = {name for name in manifest.columns if list(manifest.columns).count(name) > 1}
    if twice:
        raise CorpusError(f"{path}: column {min(twice)!r} is there twice")
    if not manifest.rows:
        raise CorpusError(f"{path}: no rows below its header")
    return manifest


def _csv(path: Path, data: bytes) -> Manifest:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CorpusError(f"{path}: line {line}: not UTF-8; save it again as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise CorpusError(f"{path}: line {reader.line_num}: {error}") from error
    manifest = Manifest(path, columns, [dict(zip(columns, row, strict=False)) for row in rows])
    for index, row in enumerate(rows):
        if len(row) != len(columns):
            raise CorpusError(
                f"{manifest.where(index)}: {plural(len(row), 'cell', 'cells')} under {len(columns)} columns; "
                "cells are parted by commas, and those that hold one are quoted"
            )
    return manifest


def _parquet(path: Path, data: bytes) -> Manifest:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            columns = file.schema_arrow.names
            table = file.read(columns=[name for name in columns if name in PLAIN + BOX or name.startswith(VOTES)])
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{path}: not Parquet: {str(error).splitlines()[0]}") from error
    manifest = Manifest(path, columns, table.to_pylist())
    rows = [
        {name: _text(value, f"{manifest.where(index)}: {name}") for name, value in row.items()}
        for index, row in enumerate(manifest.rows)
    ]
    return Manifest(path, columns, rows)


def _text(value: Any, where: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if not isinstance(value, str | int | float):
        raise CorpusError(f"{where} is a {type(value).__name__}; text or a number is wanted")
    return str(value)
