"""What a confirmed model still does when its input is damaged or part of it is missing.

The artifact is `robustness/<fingerprint>/`: `predictions.parquet` (one row per condition and test utterance, in the
order of the clean test split) and the record, whose info holds every score of every condition. A condition is a
part of the student's modalities (`only-audio`, `only-audio+text`: the others are absent) or the name of a split of
the damaged transfer set (`white-10dB`). Nothing is fitted here: the thresholds of several labels are the model's.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables import artifacts
from trainables.artifacts import Record
from trainables.conditions import condition_names, missing, model_prefix, prefix, reads, robustness_fingerprint
from trainables.determinism import reproducible
from trainables.errors import ArtifactError
from trainables.evaluation import Predictions, load_exported, predict
from trainables.metrics import scores, tuned_scores
from trainables.spec.robustness import Condition
from trainables.storage import Storage
from trainables.students import Student
from trainables.transfer_set import TransferSet

PREDICTIONS = "predictions.parquet"
_READ = ("condition", "uid", "probabilities")


def evaluate_model(
    storage: Storage,
    model: str,
    clean: TransferSet,
    damaged: TransferSet | None,
    conditions: Sequence[Condition],
    *,
    threads: int,
    device: str = "cpu",
) -> Record:
    """Predict under every condition and publish; returns the record. One already there is returned as it is.

    `model`: a confirmed model's fingerprint; `clean`: what it was trained on; `damaged`: the splits of
    `conditions`, None where there are none. Raises ArtifactError where `damaged` is not of the clean test split.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        student, fitted = _fetched(storage, model, Path(scratch))
        harms = [c for c in conditions if c.modality in student.modalities] if damaged is not None else []
        other = None if damaged is None else damaged.fingerprint
        identity = robustness_fingerprint(model, other, condition_names(student.modalities, harms))
        existing = artifacts.read_record(storage, prefix(identity))
        if existing is not None:
            return existing
        with reproducible(threads=threads, device=device):
            found = _missing(student.to(device), clean, device)
            if damaged is not None:
                found |= _damaged(student, clean, damaged, harms, device)
        record = Record(
            kind="robustness",
            fingerprint=identity,
            spec={"conditions": {c.name: c.model_dump(mode="json") for c in harms}},
            reads={**reads(model, other), "transfer_set": clean.fingerprint},
            rows={name: len(one.labels) for name, one in found.items()},
            info=_info(student, clean, found, fitted),
            created=datetime.now(UTC),
            seconds=time.monotonic() - began,
        )
        folder = Path(scratch) / "out"
        folder.mkdir()
        _write(folder / PREDICTIONS, clean, found)
        return artifacts.publish(storage, prefix(identity), folder, record)


def read_predictions(storage: Storage, fingerprint: str) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
    """By condition, in order: (uids, probabilities [N, C]) in the order of the clean test split."""
    import pyarrow.parquet as pq

    stored = artifacts.verified(storage, prefix(fingerprint), PREDICTIONS)
    with stored as path, path.open("rb") as handle:
        table = pq.read_table(handle).to_pydict()
    found: dict[str, tuple[list[str], list[Any]]] = {}
    for condition, uid, probabilities in zip(*(table[c] for c in _READ), strict=True):
        uids, rows = found.setdefault(condition, ([], []))
        uids.append(uid)
        rows.append(probabilities)
    return {name: (uids, np.array(rows, dtype=np.float64)) for name, (uids, rows) in found.items()}


def _fetched(storage: Storage, model: str, folder: Path) -> tuple[Student, list[float] | None]:
    """The student, and the thresholds of its several labels that were fitted on clean dev when it was confirmed."""
    record = artifacts.read_record(storage, model_prefix(model))
    files = [name for name in record.files if not name.endswith(".parquet")] if record else None
    record = artifacts.fetch(storage, model_prefix(model), folder, only=files)
    student, _ = load_exported(folder)
    return student, record.info["thresholds"]


def _missing(student: Student, clean: TransferSet, device: str) -> dict[str, Predictions]:
    parts = missing(student.modalities)
    return {name: predict(student, clean, "test", device=device, kept=kept) for name, kept in parts.items()}


def _damaged(
    student: Student, clean: TransferSet, damaged: TransferSet, harms: Sequence[Condition], device: str
) -> dict[str, Predictions]:
    expected = clean.uid[clean.rows("test", student.modalities)]
    found = {harm.name: predict(student, damaged, harm.name, device=device) for harm in harms}
    for name, one in found.items():
        if not np.array_equal(damaged.uid[one.index], expected):
            raise ArtifactError(
                f"transfer set {damaged.fingerprint}: its split {name} is not the test split of "
                f"{clean.fingerprint}; harvest the damaged splits of that one"
            )
    return found


def _info(
    student: Student,
    clean: TransferSet,
    found: Mapping[str, Predictions],
    thresholds: Sequence[float] | None,
) -> dict[str, Any]:
    return {
        "labels": list(clean.labels),
        "multi_label": clean.multi_label,
        "stand_in": clean.stand_in,
        "modalities": list(student.modalities),
        "missing": {name: list(kept) for name, kept in missing(student.modalities).items()},
        "thresholds": thresholds,
        "scores": {name: _scores(one, thresholds) for name, one in found.items()},
    }


def _scores(found: Predictions, thresholds: Sequence[float] | None) -> dict[str, float]:
    known = scores(found.labels, found.probabilities)
    if thresholds is None:
        return known
    return known | tuned_scores(found.labels, found.probabilities, np.asarray(thresholds))


def _write(path: Path, clean: TransferSet, found: Mapping[str, Predictions]) -> None:
    """One row group a condition, so that one is read without the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = pa.list_(pa.float32())
    truth = pa.field("targets", number) if clean.multi_label else pa.field("label", pa.int64())
    fields = [("condition", pa.string()), ("uid", pa.string()), truth, ("probabilities", number)]
    uids = [str(uid) for uid in clean.uid[clean.split == "test"]]
    with pq.ParquetWriter(path, pa.schema(fields), compression="zstd") as writer:
        for name, one in found.items():
            labels = one.labels.tolist()
            columns = [[name] * len(labels), uids, labels, one.probabilities.astype(np.float32).tolist()]
            arrays = [pa.array(c, f.type) for c, f in zip(columns, writer.schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=writer.schema))
