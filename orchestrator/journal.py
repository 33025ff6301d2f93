"""The trials of one sweep as they are stored: one JSON object a trial while it runs, Parquet at the end.

The journal is the truth of a sweep. A driver that was killed reads it and goes on; the searcher and the
scheduler keep no state of their own. Layout below the sweep's folder: `trials/<number>.json` (replaced whole at
every change, with a digest of itself at its end), `predictions/<number>.parquet` (dev, written by the trial; one a
fold where there are folds), `checkpoints/<number>/`, and after `seal` the tables `trials.parquet`, `curves.parquet`
and `predictions.parquet` (with a column `fold` where there are folds).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from orchestrator.errors import JournalError
from orchestrator.events import TrialRecord
from trainables.storage import FileInfo, Storage

if TYPE_CHECKING:
    import pyarrow as pa

TRIALS, CURVES, PREDICTIONS = "trials.parquet", "curves.parquet", "predictions.parquet"
TABLES = (TRIALS, CURVES, PREDICTIONS)


def trial_key(number: int) -> str:
    return f"trials/{number:05d}.json"


def predictions_key(number: int, fold: int | None = None) -> str:
    """Of a trial, or of one fold of it."""
    return f"predictions/{number:05d}{'' if fold is None else f'.fold-{fold:02d}'}.parquet"


def checkpoint_prefix(number: int) -> str:
    return f"checkpoints/{number:05d}"


class Journal:
    """Reads and writes the records of one sweep; `storage` is the sweep's own folder."""

    def __init__(self, storage: Storage, guard: Callable[[], None] = lambda: None) -> None:
        """`guard` raises where this process may not write any more: it no longer drives the sweep."""
        self.storage, self._guard = storage, guard

    def read(self) -> list[TrialRecord]:
        """Every trial, by number. Raises JournalError on a record that is damaged or cannot be understood."""
        found = [info for info in self.storage.list("trials") if info.key.endswith(".json")]
        with ThreadPoolExecutor(8) as pool:
            return sorted(pool.map(self._read_one, found), key=lambda record: record.number)

    def write(self, record: TrialRecord) -> None:
        self._guard()
        self.storage.write_text(trial_key(record.number), _sealed(record.model_dump_json()))

    def seal(self, known: Sequence[TrialRecord] = ()) -> list[str]:
        """Gather the trials into tables, drop the checkpoints; returns the keys of the tables written.

        What the driver has of a trial, `known`, is put in the place of what a driver that it followed may have
        stored of it late. The checkpoints of trials that are to be tried again stay. Raises JournalError on damaged
        predictions.
        """
        stored = {record.number: record for record in self.read()}
        for record in known:
            if stored.get(record.number) != record:
                self.write(record)
                stored[record.number] = record
        records = [stored[number] for number in sorted(stored)]
        with TemporaryDirectory(prefix="orch-seal-") as folder:
            tables = {TRIALS: trials_table(records), CURVES: curves_table(records)}
            written = [self._store(table, Path(folder), name) for name, table in tables.items()]
            finished = [record.number for record in records if record.state == "completed"]
            if self._join_predictions(finished, Path(folder)):
                written.append(PREDICTIONS)
        kept = {checkpoint_prefix(record.number) for record in records if not record.settled}
        self._drop_checkpoints(kept)
        return written

    def _drop_checkpoints(self, kept: set[str]) -> None:
        there = {info.key.rsplit("/", 1)[0] for info in self.storage.list("checkpoints")} if kept else set()
        with suppress(OSError):  # a worker on its way out may still be writing one: a leftover, no fault
            for prefix in sorted(there - kept) if kept else ["checkpoints"]:
                self.storage.remove(prefix)

    def _read_one(self, info: FileInfo) -> TrialRecord:
        try:
            record = TrialRecord.model_validate_json(_opened(self.storage.read_bytes(info.key)))
            if trial_key(record.number) != info.key:
                raise ValueError(f"it is of trial {record.number}")
        except ValueError as error:
            raise JournalError(f"{self.storage.url(info.key)}: {_fault(error)}; {_WAY_OUT}") from error
        return record

    def _store(self, table: pa.Table, folder: Path, name: str) -> str:
        import pyarrow.parquet as pq

        pq.write_table(table, folder / name, compression="zstd")
        self.storage.upload(folder / name, name)
        return name

    def _join_predictions(self, numbers: Sequence[int], folder: Path) -> bool:
        """One table of every trial's dev predictions, a row group a trial or fold: memory holds one at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        writer = None
        for number, fold, key in self._predictions(numbers):
            table = self._predicted(number, key, folder)
            if fold is not None:
                table = table.add_column(0, "fold", pa.array([fold] * len(table), pa.int32()))
            table = table.add_column(0, "number", pa.array([number] * len(table), pa.int32()))
            writer = writer or pq.ParquetWriter(folder / PREDICTIONS, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is None:
            return False
        writer.close()
        self.storage.upload(folder / PREDICTIONS, PREDICTIONS)
        return True

    def _predicted(self, number: int, key: str, folder: Path) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.storage.download(key, folder / "one.parquet")
        try:
            return pq.read_table(path, page_checksum_verification=True)
        except (pa.ArrowInvalid, OSError) as error:
            told = str(error).splitlines()[0]
            record = self.storage.url(trial_key(number))
            raise JournalError(
                f"{self.storage.url(key)}: the predictions of trial {number} are damaged ({told}); remove {record} "
                "to have the trial run again, or start anew with --fresh"
            ) from error

    def _predictions(self, numbers: Sequence[int]) -> Iterator[tuple[int, int | None, str]]:
        """(trial, fold, key) of what these trials have left, in order."""
        wanted = set(numbers)
        for key in sorted(info.key for info in self.storage.list("predictions")):
            found = re.fullmatch(r"predictions/(\d+)(?:\.fold-(\d+))?\.parquet", key)
            if found and int(found[1]) in wanted:
                yield int(found[1]), None if found[2] is None else int(found[2]), key


_DIGEST = re.compile(rb',"digest":"([0-9a-f]{16})"}$')
_WAY_OUT = "remove it to have the trial run again, or start anew with --fresh"


def _sealed(text: str) -> str:
    """A JSON object with its own digest as its last member."""
    return f'{text[:-1]},"digest":"{_digest(text.encode("utf-8"))}"}}'


def _opened(stored: bytes) -> bytes:
    """What `_sealed` was given; a ValueError where it has changed since. Older records have no digest."""
    found = _DIGEST.search(stored)
    if found is None:
        return stored
    text = stored[: found.start()] + b"}"
    if _digest(text) != found[1].decode("ascii"):
        raise ValueError("its content is not what was written")
    return text


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:16]


def _fault(error: ValueError) -> str:
    """What is wrong with a stored record."""
    if not isinstance(error, ValidationError):
        return f"damaged: {error}"
    if any(fault["type"] == "json_invalid" for fault in error.errors()):
        return f"damaged: {error.errors()[0]['msg'][:120]}"
    return f"not a trial of this version ({error.error_count()} faults)"


def trials_table(records: Sequence[TrialRecord]) -> pa.Table:
    """One row a trial. Searched values are the columns `param/<path>`, objectives `value/<name>`."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "number": pa.array([r.number for r in records], pa.int32()),
        "role": pa.array([r.role for r in records], pa.string()),
        "state": pa.array([r.state for r in records], pa.string()),
        "reason": pa.array([r.reason for r in records], pa.string()),
        "epochs": pa.array([r.epochs for r in records], pa.int32()),
        "machine": pa.array([r.machine for r in records], pa.bool_()),
        "attempts": pa.array([r.attempts for r in records], pa.int32()),
        "started": pa.array([r.started for r in records], pa.float64()),
        "ended": pa.array([r.ended for r in records], pa.float64()),
        "params": pa.array([json.dumps(r.params, sort_keys=True) for r in records], pa.string()),
        "overrides": pa.array([json.dumps(r.overrides, sort_keys=True) for r in records], pa.string()),
    }
    for name in sorted({name for r in records for name in r.values}):
        columns[f"value/{name}"] = pa.array([r.values.get(name) for r in records], pa.float64())
    for path in sorted({path for r in records for path in r.params}):
        columns[f"param/{path}"] = _column([r.params.get(path) for r in records])
    return pa.table(columns)


def curves_table(records: Sequence[TrialRecord]) -> pa.Table:
    """One row a trial, epoch and metric."""
    import pyarrow as pa

    rows = [
        (record.number, report.epoch, metric, value)
        for record in records
        for report in record.reports
        for metric, value in sorted(report.metrics.items())
    ]
    number, epoch, metric, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "number": pa.array(number, pa.int32()),
            "epoch": pa.array(epoch, pa.int32()),
            "metric": pa.array(metric, pa.string()).dictionary_encode(),
            "value": pa.array(value, pa.float64()),
        }
    )


def _column(values: Sequence[Any]) -> pa.Array:
    """Numbers as float64, anything else as text (JSON where it is not text itself)."""
    import pyarrow as pa

    present = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in present):
        return pa.array(values, pa.float64())
    texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pa.array(texts, pa.string())
