"""A confirmed model: one configuration trained with one seed, its test split read once, and all of it kept.

The artifact is `models/<fingerprint>/`: `student.safetensors` and `run.json` (enough to load the student),
`predictions.parquet` (one row per dev and test utterance) and `curves.parquet`. Its record's info holds the dev
score, the test metrics, calibration and MC-dropout uncertainty, parameters and latency; with several labels the
thresholds, too, that were fitted on dev.
"""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainables import artifacts
from trainables.artifacts import Record
from trainables.conditions import model_prefix
from trainables.evaluation import Predictions, count_parameters, export, latency, mc_predict, predict
from trainables.metrics import decided, scores, tuned_scores, tuned_thresholds
from trainables.reporter import ListReporter
from trainables.run import TrainResult, load_student, train
from trainables.spec import RunSpec
from trainables.storage import Storage
from trainables.transfer_set import TransferSet
from trainables.uncertainty import aurc, ece, fit_temperature, mce, mutual_information, predictive_entropy

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS = "predictions.parquet"


def confirm_model(
    run: RunSpec,
    data: TransferSet,
    storage: Storage,
    fingerprint: str,
    *,
    mc_passes: int,
    threads: int,
    device: str = "cpu",
) -> Record:
    """Train, read test, publish; returns the record. One already there is returned as it is."""
    existing = artifacts.read_record(storage, model_prefix(fingerprint))
    if existing is not None:
        return existing
    began = time.monotonic()
    result = train(run, data, ListReporter(), device=device, threads=threads)
    student = load_student(run, data, result.student_state).to(device)
    test = predict(student, data, "test", device=device)
    passes = mc_predict(student, data, "test", mc_passes, seed=run.seed, device=device)
    timing = latency(student, data)  # on the CPU, where the student then stays
    thresholds = fitted_thresholds(result.dev)
    info: dict[str, Any] = {
        "dev_score": result.score,
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "test": evaluate(result.dev, test, passes, thresholds),
        "thresholds": thresholds,
        "parameters": count_parameters(student),
        "latency_ms": timing.p50_ms,
        "latency_p95_ms": timing.p95_ms,
        "labels": list(data.labels),
        "stand_in": data.stand_in,
    }
    record = Record(
        kind="model",
        fingerprint=fingerprint,
        spec=run.model_dump(mode="json"),
        reads={"transfer_set": data.fingerprint},
        rows={"dev": len(result.dev.labels), "test": len(test.labels)},
        info=info,
        created=datetime.now(UTC),
        seconds=time.monotonic() - began,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        export(student, run, data, folder)
        _write_tables(folder, data, result, test, passes)
        return artifacts.publish(storage, model_prefix(fingerprint), folder, record)


def evaluate(
    dev: Predictions, test: Predictions, passes: NDArray[np.floating[Any]], thresholds: list[float] | None
) -> dict[str, float]:
    """Test metrics, calibration before and after the temperature fitted on dev, and MC-dropout uncertainty.

    `passes` [M, N, C] are probabilities of M stochastic forward passes over the test split; entropies in nats. With
    several labels the scores at `thresholds` (of `fitted_thresholds`) stand beside those at 0.5.
    """
    temperature = fit_temperature(dev.logits, dev.labels)
    cooled = Predictions(test.index, test.labels, (test.logits / temperature).astype(np.float32)).probabilities
    several, found = thresholds is not None, (test.labels, test.probabilities)
    return {
        **scores(*found),
        **(tuned_scores(*found, np.asarray(thresholds)) if several else {"aurc": aurc(*found)}),
        "mce": mce(test.labels, test.probabilities),
        "calibration_temperature": temperature,
        "ece_calibrated": ece(test.labels, cooled),
        "predictive_entropy": float(predictive_entropy(passes, bernoulli=several).mean()),
        "mutual_information": float(mutual_information(passes, bernoulli=several).mean()),
    }


def fitted_thresholds(dev: Predictions) -> list[float] | None:
    """Of each label, fitted on dev; None with one label."""
    return tuned_thresholds(dev.labels, dev.probabilities).tolist() if dev.labels.ndim == 2 else None


def read_predictions(
    storage: Storage, fingerprint: str, split: str
) -> tuple[list[str], NDArray[Any], NDArray[Any]]:
    """(uids, labels [N] or, where there may be several, [N, C], probabilities [N, C]) of a confirmed model, in the
    order of the transfer set."""
    import pyarrow.parquet as pq

    stored = artifacts.verified(storage, model_prefix(fingerprint), PREDICTIONS)
    with stored as path, path.open("rb") as handle:
        table = pq.read_table(handle, filters=[("split", "=", split)])
    probabilities = np.array(table["probabilities"].to_pylist(), dtype=np.float64)
    several = "targets" in table.column_names
    labels = np.array(table["targets"].to_pylist()) if several else table["label"].to_numpy()
    return table["uid"].to_pylist(), labels, probabilities


def _write_tables(
    folder: Path, data: TransferSet, result: TrainResult, test: Predictions, passes: NDArray[np.floating[Any]]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    uncertainty = {
        "predictive_entropy": predictive_entropy(passes, bernoulli=data.multi_label),
        "mutual_information": mutual_information(passes, bernoulli=data.multi_label),
    }
    unknown = {name: np.full(len(result.dev.labels), np.nan) for name in uncertainty}
    dev_rows = _predictions(data, "dev", result.dev, unknown)
    pq.write_table(
        pa.concat_tables([dev_rows, _predictions(data, "test", test, uncertainty)]), folder / PREDICTIONS
    )
    pq.write_table(pa.Table.from_pylist(result.curves), folder / "curves.parquet")


def _truth(found: Predictions) -> dict[str, Any]:
    """`label` and `predicted` (at thresholds of 0.5, as `targets`, where there may be several)."""
    if found.labels.ndim == 1:
        return {"label": found.labels, "predicted": found.probabilities.argmax(axis=1)}
    return {
        "targets": found.labels.astype(np.float32).tolist(),
        "predicted": decided(found.probabilities).astype(np.float32).tolist(),
    }


def _predictions(data: TransferSet, split: str, found: Predictions, extra: dict[str, NDArray[Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "uid": [str(uid) for uid in data.uid[found.index]],
            "split": [split] * len(found.labels),
            **_truth(found),
            "probabilities": found.probabilities.astype(np.float32).tolist(),
            **{name: values.astype(np.float32) for name, values in extra.items()},
        }
    )
