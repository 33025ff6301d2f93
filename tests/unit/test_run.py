from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.errors import ArtifactError, SpecError
from trainables.evaluation import count_parameters, export, latency, load_exported, mc_predict, predict
from trainables.loop import TrainResult
from trainables.reporter import ListReporter
from trainables.run import load_student, train
from trainables.spec import RunSpec
from trainables.students import Student
from trainables.transfer_set import TransferSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run() -> RunSpec:
    return small_run(training={"epochs": 8, "learning_rate": 0.005, "batch_size": 8})


@pytest.fixture(scope="module")
def result(run: RunSpec, data: TransferSet) -> TrainResult:
    return train(run, data, ListReporter(), threads=1)


@pytest.fixture
def student(run: RunSpec, data: TransferSet, result: TrainResult) -> Student:
    return load_student(run, data, result.student_state)


def test_training_learns_the_synthetic_rule(result: TrainResult) -> None:
    assert result.score > 0.6  # chance is 1/7


def test_a_loaded_student_predicts_what_was_trained(
    data: TransferSet, student: Student, result: TrainResult
) -> None:
    again = predict(student, data, "dev")
    np.testing.assert_allclose(again.logits, result.dev.logits, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(again.index, data.rows("dev", ("audio", "text")))
    np.testing.assert_allclose(again.probabilities.sum(1), 1)


def test_the_batch_size_does_not_change_predictions(data: TransferSet, student: Student) -> None:
    one, many = (predict(student, data, "test", batch_size=b).logits for b in (1, 64))
    np.testing.assert_allclose(one, many, rtol=1e-3, atol=1e-5)


def test_parameters_are_those_of_the_student_alone(student: Student, result: TrainResult) -> None:
    assert result.parameters == count_parameters(student) == sum(p.numel() for p in student.parameters())


def test_dropout_predictions_vary_repeat_and_average(data: TransferSet, student: Student) -> None:
    mc = mc_predict(student, data, "dev", passes=20, seed=0)
    assert mc.shape == (20, 28, 7) and mc.dtype == np.float32
    np.testing.assert_allclose(mc.sum(2), 1, rtol=1e-5)
    np.testing.assert_array_equal(mc, mc_predict(student, data, "dev", passes=20, seed=0))
    assert (mc != mc_predict(student, data, "dev", passes=20, seed=1)).any()
    assert mc.std(axis=0).max() > 0.01 and not any(m.training for m in student.modules())
    assert np.abs(mc.mean(0) - predict(student, data, "dev").probabilities).mean() < 0.1


def test_latency_orders_its_quantiles_and_restores_threads(data: TransferSet, student: Student) -> None:
    threads = torch.get_num_threads()
    measured = latency(student, data, runs=20)
    assert 0 < measured.p50_ms <= measured.p95_ms
    assert torch.get_num_threads() == threads


def test_an_exported_student_needs_no_experiment(
    run: RunSpec, data: TransferSet, student: Student, tmp_path: Path
) -> None:
    export(student, run, data, tmp_path / "model")
    loaded, facts = load_exported(tmp_path / "model")
    np.testing.assert_array_equal(predict(loaded, data, "test").logits, predict(student, data, "test").logits)
    assert facts["labels"] == list(data.labels) and facts["stand_in"] is True
    assert RunSpec.model_validate(facts["run"]) == run
    with pytest.raises(ArtifactError, match="no exported student"):
        load_exported(tmp_path)


def test_an_unknown_metric_is_refused(data: TransferSet) -> None:
    with pytest.raises(SpecError, match=r"metric 'f2'.*weighted_f1"):
        train(small_run(metric="f2"), data, ListReporter())


def test_a_transfer_set_without_a_teacher_is_refused(tmp_path: Path) -> None:
    text_only = synthetic(tmp_path, modalities=("text",))
    with pytest.raises(ArtifactError, match="no outputs of the fusion teacher"):
        train(small_run(student={"modalities": ["text"]}), text_only, ListReporter())
