"""The confirmed leaderboard, from stored predictions alone, against plain arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from orchestrator.errors import StageError
from orchestrator.leaderboard import Candidate, gains, score_students, score_teachers
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from trainables.artifacts import Record, publish, read_record
from trainables.conditions import model_prefix as prefix
from trainables.conditions import prefix as tried_prefix
from trainables.spec import RunSpec
from trainables.storage import Storage
from trainables.teachers.identity import prefix as teacher_prefix

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
    info |= {"thresholds": None, "labels": ["a", "b", "c"]}
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


SIZES = (50, 70)
FOLDED = {"a": ["s0f0", "s0f1", "s1f0", "s1f1"], "b": ["t0f0", "t0f1", "t1f0", "t1f1"]}


def stored_fold(storage: Storage, folder: Path, fold: int, seed: int, skill: float) -> None:
    """A model of one fold, named by its folder: its test rows are a part of all, its recorded scores are no use."""
    start = sum(SIZES[:fold])
    rows = slice(start, start + SIZES[fold])
    probabilities = predictions(seed, skill)[rows]
    folder.mkdir(parents=True)
    uids = [str(i) for i in range(len(LABELS))][rows]
    table = {"uid": uids, "split": ["test"] * len(uids), "label": LABELS[rows]}
    pq.write_table(pa.table({**table, "probabilities": probabilities.tolist()}), folder / "predictions.parquet")
    info = {
        "dev_score": skill + fold,
        "parameters": 10 + 4 * fold,
        "latency_ms": 1.0,
        "test": {METRIC: -1.0, "mce": 0.5},
        "thresholds": None,
        "labels": ["a", "b", "c"],
    }
    spec = RunSpec(seed=1000 + seed).model_dump(mode="json") | {"fold": fold}
    record = Record(kind="model", fingerprint=folder.name, spec=spec, info=info, created=datetime.now(UTC))
    publish(storage, prefix(folder.name), folder, record)


@pytest.fixture
def folded(tmp_path: Path) -> Storage:
    found = Storage(str(tmp_path / "store"))
    for letter, skill in (("s", 0.9), ("t", 0.3)):
        for seed in (0, 1):
            for fold in (0, 1):
                stored_fold(found, tmp_path / f"{letter}{seed}f{fold}", fold, seed, skill)
    return found


def test_a_row_over_folds_is_of_all_their_test_rows_together(folded: Storage) -> None:
    (scored,) = score_students(folded, [candidate("a")], FOLDED, METRIC, 200)
    row, given = scored.row, [predictions(seed, 0.9).argmax(1) for seed in (0, 1)]
    whole = [f1_score(LABELS, one, average="weighted") for one in given]
    assert row.score == pytest.approx(np.mean(whole))
    assert row.sd == pytest.approx(np.std(whole, ddof=1))
    assert row.interval.low < row.score < row.interval.high
    assert row.metrics["accuracy"] == pytest.approx(np.mean([accuracy_score(LABELS, one) for one in given]))
    assert row.metrics["uar"] == pytest.approx(
        np.mean([recall_score(LABELS, one, average="macro") for one in given])
    )
    assert row.metrics["mce"] == 0.5
    assert (row.seeds, row.models, row.parameters) == ([1000, 1001], FOLDED["a"], 12)
    assert row.dev_score == pytest.approx(1.4)


def test_the_spread_is_over_folds_and_each_fold_is_the_mean_over_seeds(folded: Storage) -> None:
    (scored,) = score_students(folded, [candidate("a")], FOLDED, METRIC, 200)
    parts = [slice(0, 50), slice(50, 120)]
    each = [np.mean([accuracy_score(LABELS[p], predictions(s, 0.9).argmax(1)[p]) for s in (0, 1)]) for p in parts]
    spread = scored.row.folds["accuracy"]
    assert spread.each == pytest.approx(each)
    assert spread.mean == pytest.approx(np.mean(each))
    assert spread.sd == pytest.approx(np.std(each, ddof=1))


def test_confusion_counts_every_test_row_once_a_seed(folded: Storage, storage: Storage) -> None:
    expected = sum(confusion_matrix(LABELS, predictions(seed, 0.9).argmax(1)) for seed in (0, 1))
    (over,) = score_students(folded, [candidate("a")], FOLDED, METRIC, 200)
    assert over.row.confusion == expected.tolist()
    assert over.row.folds.keys() >= {"accuracy", "uar", "weighted_f1"}
    (single,) = score_students(storage, [candidate("a")], {"a": ["a0", "a1"]}, METRIC, 200)
    assert (single.row.confusion, single.row.folds) == (expected.tolist(), {})


def test_gains_over_folds_pair_the_same_rows(folded: Storage) -> None:
    good, bad = score_students(folded, [candidate("a"), candidate("b")], FOLDED, METRIC, 200)
    (gain,) = gains(good, [bad], METRIC, 300, named=True)
    assert (gain.of, gain.over) == ("a", "b")
    assert gain.difference == pytest.approx(good.row.score - bad.row.score)
    assert 0 < gain.interval.low < gain.difference


def test_an_utterance_that_two_folds_test_is_an_error(folded: Storage) -> None:
    record = read_record(folded, prefix("s0f0"))
    assert record is not None
    twice = {"a": ["s0f0", "again"]}
    spec = {**record.spec, "fold": 1}
    folded.write_bytes(
        f"{prefix('again')}/predictions.parquet", folded.read_bytes(f"{prefix('s0f0')}/predictions.parquet")
    )
    again = record.model_copy(update={"fingerprint": "again", "spec": spec})
    publish(folded, prefix("again"), None, again, stored=["predictions.parquet"])
    with pytest.raises(StageError, match="a: utterance 0 is tested in two folds"):
        score_students(folded, [candidate("a")], twice, METRIC, 200)


def test_teachers_over_folds_are_scored_on_all_test_rows(tmp_path: Path) -> None:
    """Two folds of one made-up transfer set would share their rows, which is refused; one alone is scored."""
    data = synthetic(tmp_path, n=60)
    storage = Storage(str(tmp_path / "store"))
    for name in ("one", "two"):
        record = Record(
            kind="teacher", fingerprint=name, spec={"training": {"seed": 3}}, created=datetime.now(UTC),
            info={"dev": {METRIC: 0.5}, "parameters": 7, "latency_ms": 2.0},
        )  # fmt: skip
        publish(storage, teacher_prefix(name), None, record)
    given: tuple[Any, ...] = (tmp_path / "cache", METRIC, 100)
    (scored,) = score_teachers(storage, [(FINGERPRINT, {"text": "one"})], *given)
    rows = data.rows("test", ())
    own = data.teachers["text"].logits[rows].argmax(1)
    assert scored.row.score == pytest.approx(f1_score(data.label[rows], own, average="weighted"))
    assert (scored.row.parameters, scored.row.seeds, scored.row.models) == (7, [3], ["one"])
    both = [(FINGERPRINT, {"text": "one"}), (FINGERPRINT, {"text": "two"})]
    with pytest.raises(StageError, match=r"teacher-text: utterance .* is tested in two folds"):
        score_teachers(storage, both, *given)


def test_several_labels_are_scored_at_half_and_at_fitted_thresholds(tmp_path: Path) -> None:
    truth = np.stack([LABELS == 0, LABELS != 1, LABELS == 9], axis=1).astype(np.float32)
    noise = np.random.default_rng(0).random((2, *truth.shape))
    storage = Storage(str(tmp_path / "store"))
    for number, drawn in enumerate(noise):
        folder = tmp_path / str(number)
        folder.mkdir()
        probabilities = 0.2 * truth + 0.3 * drawn  # all below 0.5: nothing is given but at a threshold of its own
        table = {"uid": [str(i) for i in range(len(LABELS))], "split": ["test"] * len(LABELS)}
        columns = {**table, "targets": truth.tolist(), "probabilities": probabilities.tolist()}
        pq.write_table(pa.table(columns), folder / "predictions.parquet")
        info = {
            "dev_score": 0.5, "parameters": 10, "latency_ms": 1.0, "test": {METRIC: 0.0},
            "thresholds": [0.25, 0.25, 0.5], "labels": ["x", "y", "z"],
        }  # fmt: skip
        spec = RunSpec(seed=1000 + number).model_dump(mode="json")
        record = Record(kind="model", fingerprint=f"m{number}", spec=spec, info=info, created=datetime.now(UTC))
        publish(storage, prefix(f"m{number}"), folder, record)
    (scored,) = score_students(storage, [candidate("m")], {"m": ["m0", "m1"]}, METRIC, 200)
    assert scored.row.confusion == [] and scored.row.score == 0.0
    x, y, z = scored.row.by_label
    each = [f1_score(truth[:, 0], 0.2 * truth[:, 0] + 0.3 * drawn[:, 0] >= 0.25) for drawn in noise]
    assert x.tuned_f1 == pytest.approx(np.mean(each)) and x.f1 == 0.0 and x.threshold == 0.25
    assert (x.support, y.support, z.support) == (36, 84, 0)
    assert z.f1 is None and z.average_precision is None


def tried(storage: Storage, folder: Path, model: str, probabilities: np.ndarray, start: int = 0) -> str:
    """The evaluation of a model with these test predictions under each of two conditions; returns its name."""
    folder.mkdir(parents=True)
    count = len(probabilities)
    names = ("only-text", "white-0dB")
    table = {
        "condition": [name for name in names for _ in range(count)],
        "uid": [str(start + i) for _ in names for i in range(count)],
        "probabilities": [*probabilities.tolist(), *np.full((count, 3), 1 / 3).tolist()],
    }
    pq.write_table(pa.table(table), folder / "predictions.parquet")
    record = Record(kind="robustness", fingerprint=f"r-{model}", spec={}, created=datetime.now(UTC))
    publish(storage, tried_prefix(record.fingerprint), folder, record)
    return record.fingerprint


def weighted(*given: np.ndarray) -> float:
    return float(np.mean([f1_score(LABELS, one.argmax(1), average="weighted") for one in given]))


def test_a_row_has_its_scores_under_each_condition_and_what_they_cost(storage: Storage, tmp_path: Path) -> None:
    harmed = {f"a{seed}": predictions(10 + seed, 0.5) for seed in (0, 1)}
    found = {model: tried(storage, tmp_path / f"r-{model}", model, p) for model, p in harmed.items()}
    both = {"a": ["a0", "a1"], "b": ["b0", "b1"]}
    row, other = (
        one.row for one in score_students(storage, [candidate("a"), candidate("b")], both, METRIC, 300, tried=found)
    )
    assert other.robustness == []
    text, noise = row.robustness
    assert (text.name, noise.name) == ("only-text", "white-0dB")
    assert text.score == pytest.approx(weighted(*harmed.values())) == text.metrics[METRIC]
    assert text.change == pytest.approx(weighted(*harmed.values()) - row.score)
    assert noise.score == pytest.approx(f1_score(LABELS, np.zeros(120), average="weighted"))
    assert noise.metrics["nll"] == pytest.approx(np.log(3))
    for one in row.robustness:
        assert one.interval.low < one.score < one.interval.high
        assert one.change_interval.low < one.change < one.change_interval.high < 0


def test_conditions_over_folds_pool_the_rows_of_the_clean_score(folded: Storage, tmp_path: Path) -> None:
    harmed = [predictions(10 + seed, 0.5) for seed in (0, 1)]
    found = {
        f"s{seed}f{fold}": tried(
            folded, tmp_path / f"r{seed}{fold}", f"s{seed}f{fold}", harmed[seed][start : start + size], start
        )
        for seed in (0, 1)
        for fold, (start, size) in enumerate(((0, 50), (50, 70)))
    }
    (scored,) = score_students(folded, [candidate("a")], FOLDED, METRIC, 200, tried=found)
    text, _ = scored.row.robustness
    assert text.score == pytest.approx(weighted(*harmed))
    assert text.change == pytest.approx(weighted(*harmed) - scored.row.score)
    assert text.metrics["accuracy"] == pytest.approx(
        np.mean([accuracy_score(LABELS, one.argmax(1)) for one in harmed])
    )


def test_an_evaluation_on_other_rows_is_refused(storage: Storage, tmp_path: Path) -> None:
    found = {"a0": tried(storage, tmp_path / "r", "a0", predictions(0, 0.5), start=1)}
    with pytest.raises(StageError, match="robustness/r-a0: only-text is not of the rows that model a0"):
        score_students(storage, [candidate("a")], {"a": ["a0"]}, METRIC, 200, tried=found)
