"""Every method keeps the loop's contract, whatever the student reads."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batcher
from trainables.method import BaseMethod, Setting
from trainables.methods import METHODS
from trainables.reporter import ListReporter
from trainables.run import TrainResult, train
from trainables.spec import RunSpec
from trainables.spec.demands import needs_of, teachers_needed
from trainables.students import build_student
from trainables.transfer_set import TransferSet

MODALITIES = [("audio", "text"), ("audio",), ("text",)]
SETTINGS: list[dict[str, Any]] = [
    {"type": "supervised"},
    {"type": "cmd"},
    {"type": "cmd", "phases": "joint", "positives": "same_label"},
    {"type": "cmd", "attention_weight": 0.1, "temperature": {"shape": "cosine", "start": 4, "end": 1}},
    {"type": "cmd", "curriculum": {"type": "teacher_nll"}, "kd_weight": 0},
    {"type": "cmd", "curriculum": {"type": "teacher_nll", "pacing": "soft"}, "cross_weight": 0},
    {"type": "cmd", "self_weight": 0, "cross_weight": 0, "kd_weight": 1},
    {"type": "distil", "terms": {"kd": {"enabled": True}}},
    {"type": "distil", "terms": {"kd": {"enabled": True}}, "weighting": "homoscedastic"},
    {"type": "distil", "curriculum": {"type": "rater_disagreement"}},
    {"type": "contrastive_regularisation"},
    {"type": "contrastive_regularisation", "alpha": {"shape": "linear", "start": 0.5, "end": 0}},
    {"type": "contrastive_regularisation", "stages": "three", "regulariser": {"estimator": "mine"}},
    {"type": "contrastive_regularisation", "regulariser": {"estimator": "info_nce", "negatives": "shuffle"}},
    {"type": "contrastive_regularisation", "weighting": "homoscedastic", "stages": "three"},
    {"type": "meta_knowledge"},
    {
        "type": "meta_knowledge",
        "temperature_source": "meta",
        "meta": {"gradient": "first_order", "parameters": "all"},
    },
    {"type": "meta_knowledge", "temperature_source": "ctkd_instance", "teacher": "live", "soft_loss": "mse"},
    {
        "type": "meta_knowledge",
        "learned": [],
        "temperature_source": "schedule",
        "curriculum": {"type": "teacher_nll"},
    },
    {"type": "meta_knowledge", "terms": {"crd": {"enabled": True}}, "weighting": "homoscedastic"},
    {"type": "co_learning"},
    {"type": "co_learning", "mode": "joint", "terms": {"kd": {"enabled": True}}},
    {"type": "co_learning", "mode": "distil", "weighting": "homoscedastic"},
    {"type": "co_learning", "mutual": 0.5, "parts": "single", "curriculum": {"type": "teacher_nll"}},
    {"type": "co_learning", "mode": "dropout"},
    {"type": "meta_knowledge", "kd_weight": 0, "curriculum": {"type": "rater_disagreement"}},
]
Trained = tuple[TrainResult, ListReporter]
EVERY = pytest.mark.parametrize("modalities", MODALITIES, ids="+".join)
ALL = pytest.mark.parametrize("method", SETTINGS, ids=lambda m: "-".join(f"{v}" for v in m.values())[:40])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), attention=True, frames=True, segments=True, votes=True)


@pytest.fixture(scope="module")
def plain(data: TransferSet) -> Callable[[dict[str, Any]], Trained]:
    """A method's run with nothing else said, trained once for every test that asks for it."""
    done: dict[str, Trained] = {}

    def trained(method: dict[str, Any]) -> Trained:
        key = json.dumps(method, sort_keys=True)
        if key not in done:
            reporter = ListReporter()
            done[key] = train(small_run(method=method), data, reporter, threads=1), reporter
        return done[key]

    return trained


def built(run: RunSpec, data: TransferSet) -> BaseMethod:
    rows = data.rows("train", run.student.modalities)
    return METHODS[run.method.type](Setting(run, data, rows, build_student(run.student, data, 0).widths))


def test_every_method_of_the_registry_is_tried() -> None:
    assert {m["type"] for m in SETTINGS} == set(METHODS)


@EVERY
@ALL
def test_terms_are_finite_scalars_that_teach(
    data: TransferSet, method: dict[str, Any], modalities: tuple[str, ...]
) -> None:
    run = small_run(method=method, student={"modalities": modalities})
    ours, student = built(run, data), build_student(run.student, data, 0)
    rows = data.rows("train", run.student.modalities)[:8]
    batcher = Batcher(data, student.spec, needs_of(run), teachers_needed(run))
    for progress in (0.0, 0.5, 1.0):
        student.zero_grad(set_to_none=True)
        terms = ours.loss(student(batcher.batch(rows), ours.attention(progress)), batcher.targets(rows), progress)
        assert terms and all(t.shape == () and torch.isfinite(t) for t in terms.values())
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in student.parameters() if p.grad is not None]
        assert sum(float(g.abs().sum()) for g in gradients) > 0
        assert all(math.isfinite(v) for v in ours.values(progress).values())


@EVERY
@ALL
def test_the_last_epoch_classifies(data: TransferSet, method: dict[str, Any], modalities: tuple[str, ...]) -> None:
    ours = built(small_run(method=method, student={"modalities": modalities}), data)
    assert ours.phase(1.0) == "classification"
    assert "ce" in _names(ours, data, modalities)


def _names(ours: BaseMethod, data: TransferSet, modalities: tuple[str, ...]) -> set[str]:
    run = small_run(student={"modalities": modalities})
    student, rows = build_student(run.student, data, 0), np.arange(4)
    batcher = Batcher(
        data, student.spec, needs_of(run).model_copy(update={"attention": True}), tuple(data.teachers)
    )
    batch = batcher.batch(rows)
    return set(ours.loss(student(batch, ours.attention(1.0)), batch, 1.0))


@EVERY
@ALL
def test_sampling_stays_within_train(
    data: TransferSet, method: dict[str, Any], modalities: tuple[str, ...]
) -> None:
    run = small_run(method=method, student={"modalities": modalities})
    ours, train_rows = built(run, data), data.rows("train", run.student.modalities)
    for progress in (0.0, 0.3, 1.0):
        sampling = ours.sampling(progress)
        if sampling.rows is not None:
            assert set(sampling.rows.tolist()) <= set(train_rows.tolist())
            assert set(data.label[sampling.rows]) == set(data.label[train_rows])
        if sampling.weights is not None:
            assert sampling.weights.shape == (len(data),) and (sampling.weights[train_rows] > 0).all()
    assert ours.sampling(1.0).rows is None and ours.sampling(1.0).weights is None


@ALL
def test_a_whole_run(plain: Callable[[dict[str, Any]], Trained], method: dict[str, Any]) -> None:
    result, reporter = plain(method)
    assert [epoch for epoch, _ in reporter.reports] == [1, 2, 3] == [c["epoch"] for c in result.curves]
    assert result.score == max(c["dev/weighted_f1"] for c in result.curves if c["phase"] == 1)
    assert result.dev.logits.shape == (28, 7)
    for metrics in result.curves:
        terms = [v for k, v in metrics.items() if k.startswith("loss/")]
        assert metrics["loss"] == pytest.approx(sum(terms))
        assert {"epoch", "dev/macro_f1", "phase", "learning_rate", "seconds"} <= set(metrics)


TAUGHT_BY_THREE = [
    m for m in SETTINGS if m["type"] != "contrastive_regularisation"
]  # it pairs audio with text itself


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    folder = tmp_path_factory.mktemp("three")
    return synthetic(folder, modalities=("audio", "text", "visual"), attention=True, frames=True, votes=True)


@pytest.mark.parametrize("method", TAUGHT_BY_THREE, ids=lambda m: "-".join(f"{v}" for v in m.values())[:40])
def test_an_audio_student_is_taught_by_three_modalities(three: TransferSet, method: dict[str, Any]) -> None:
    """Nothing of the experiment changes but `student.modalities`."""
    corpus = {"type": "standin", "modalities": ["audio", "text", "visual"]}
    teachers: dict[str, Any] = {"visual": {}}
    student, training = {"modalities": ["audio"]}, {"epochs": 2}
    run = small_run(corpus=corpus, teachers=teachers, method=method, student=student, training=training)
    assert run.teachers.alone == ("audio", "text", "visual") and run.teachers.best == "fusion"
    needed = set(teachers_needed(run))
    assert needed <= {"audio", "fusion"}
    result = train(run, three, ListReporter(), threads=1)
    assert result.dev.logits.shape == (28, 7) and math.isfinite(result.score)


@pytest.mark.parametrize(
    "modalities", [("audio", "text", "visual"), ("audio", "visual"), ("visual",)], ids="+".join
)
@pytest.mark.parametrize("method", TAUGHT_BY_THREE, ids=lambda m: "-".join(f"{v}" for v in m.values())[:40])
def test_every_method_teaches_a_student_that_sees(
    three: TransferSet, method: dict[str, Any], modalities: tuple[str, ...]
) -> None:
    corpus = {"type": "standin", "modalities": ["audio", "text", "visual"]}
    student = {"type": "cross_modal_transformer", "image_filters": 4, "modalities": modalities}
    teachers: dict[str, Any] = {"visual": {}}
    run = small_run(corpus=corpus, teachers=teachers, method=method, student=student, training={"epochs": 2})
    ours, student_ = built(run, three), build_student(run.student, three, 0)
    batcher = Batcher(three, run.student, needs_of(run), teachers_needed(run))
    batch = batcher.batch(three.rows("train", run.student.modalities)[4:12])
    terms = ours.loss(student_(batch, ours.attention(1.0)), batch, 1.0)
    assert "ce" in terms and all(torch.isfinite(term) for term in terms.values())


@ALL
def test_modality_dropout_goes_with_every_method(
    data: TransferSet, plain: Callable[[dict[str, Any]], Trained], method: dict[str, Any]
) -> None:
    run = small_run(method=method, training={"modality_dropout": 0.4})
    dropped, (whole, _) = train(run, data, ListReporter(), threads=1), plain(method)
    assert small_run(method=method).training.modality_dropout == 0
    assert [c["loss"] for c in whole.curves] != [c["loss"] for c in dropped.curves]
