"""The confirmed leaderboard, from stored predictions alone, against plain arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from orchestrator.errors import StageError
from orchestrator.leaderboard import Candidate, gains, score_students
from trainables.artifacts import Record, publish
from trainables.confirm import prefix
from trainables.spec import RunSpec
from trainables.storage import Storage

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2] * 12)
METRIC = "weighted_f1"


def predictions(seed: int, skill: float) -> np.ndarray:
    """[120, 3] probabilities that are right with about the probability `skill`."""
    rng = np.random.default_rng(seed)
    chosen = np.where(rng.random(len(LABELS)) < skill, LABELS, rng.integers(0, 3, len(LABELS)))
    return np.eye(3)[chosen] * 0.8 + 0.2 / 3


def stored(storage: Storage, folder: Path, name: str, seed: int, skill: float) -> None:
    """A confirmed model with these test predictions."""
    probabilities = predictions(seed, skill)
    score = f1_score(LABELS, probabilities.argmax(1), average="weighted")
    folder.mkdir(parents=True)
    table = {"uid": [str(i) for i in range(len(LABELS))], "split": ["test"] * len(LABELS), "label": LABELS}
    pq.write_table(pa.table({**table, "probabilities": probabilities.tolist()}), folder / "predictions.parquet")
    info = {"dev_score": skill, "parameters": 10, "latency_ms": 1.0, "test": {METRIC: float(score)}}
    spec = RunSpec(seed=1000 + seed).model_dump(mode="json")
    record = Record(kind="model", fingerprint=name, spec=spec, info=info, created=datetime.now(UTC))
    publish(storage, prefix(name), folder, record)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    found = Storage(str(tmp_path / "store"))
    for name, seed, skill in (("a0", 0, 0.9), ("a1", 1, 0.9), ("b0", 2, 0.3), ("b1", 3, 0.3)):
        stored(found, tmp_path / name, name, seed, skill)
    return found


def candidate(name: str) -> Candidate:
    return Candidate(name, "best", RunSpec(), {})


def test_a_row_is_the_mean_over_its_seeds(storage: Storage) -> None:
    (scored,) = score_students(storage, [candidate("a")], {"a": ["a0", "a1"]}, METRIC, 200)
    each = [f1_score(LABELS, predictions(seed, 0.9).argmax(1), average="weighted") for seed in (0, 1)]
    row = scored.row
    assert row.score == pytest.approx(np.mean(each))
    assert row.sd == pytest.approx(np.std(each, ddof=1))
    assert row.interval.low < row.score < row.interval.high
    assert row.seeds == [1000, 1001]
    assert row.models == ["a0", "a1"]


def test_one_seed_has_no_deviation(storage: Storage) -> None:
    (scored,) = score_students(storage, [candidate("a")], {"a": ["a0"]}, METRIC, 200)
    assert scored.row.sd is None


def test_gains_are_differences_of_scores_with_their_sign(storage: Storage) -> None:
    good, bad = score_students(
        storage, [candidate("a"), candidate("b")], {"a": ["a0", "a1"], "b": ["b0", "b1"]}, METRIC, 200
    )
    (gain,) = gains(good, [bad], METRIC, 500)
    assert gain.difference == pytest.approx(good.row.score - bad.row.score)
    assert 0 < gain.interval.low < gain.difference < gain.interval.high
    (loss,) = gains(bad, [good], METRIC, 500)
    assert loss.difference == pytest.approx(-gain.difference)
    (none,) = gains(good, [good], METRIC, 500)
    assert (none.difference, none.interval.low, none.interval.high) == (0, 0, 0)


def test_a_model_that_is_gone_is_named(storage: Storage) -> None:
    with pytest.raises(StageError, match="models/zz: the artifact is gone"):
        score_students(storage, [candidate("a")], {"a": ["zz"]}, METRIC, 200)
