"""Every method and every term learns several labels an utterance, or the check refuses it before anything runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from tests.helpers.students import TermCase, run_of
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batcher
from trainables.losses.multi_label import binary_kd
from trainables.method import BaseMethod, Setting
from trainables.methods import METHODS
from trainables.spec import RunSpec
from trainables.spec.demands import needs_of, teachers_needed, unmet
from trainables.spec.terms import Terms
from trainables.students import build_student
from trainables.students.base import StudentOutput
from trainables.transfer_set import TransferSet

CORPUS = {"type": "standin", "several": True}
LEARNED: list[dict[str, Any]] = [
    {"type": "supervised"},
    {"type": "cmd"},
    {"type": "cmd", "phases": "joint", "attention_weight": 0.1},
    {"type": "distil", "terms": {"kd": {"enabled": True}}},
    {"type": "distil", "terms": {"kd": {"enabled": True}}, "weighting": "homoscedastic"},
    {"type": "co_learning"},
    {"type": "co_learning", "mode": "dropout"},
]
REFUSED: list[dict[str, Any]] = [
    {"type": "cmd", "positives": "same_label"},
    {"type": "cmd", "curriculum": {"type": "teacher_nll"}},
    {"type": "contrastive_regularisation"},
    {"type": "meta_knowledge"},
]
TERMS_LEARNED = ("kd", "hint", "attention", "rkd", "crd", "info_nce")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), several=True, attention=True)


def several(method: dict[str, Any], **training: Any) -> RunSpec:
    return run_of({}, method, training=training, corpus=CORPUS)


def built(run: RunSpec, data: TransferSet) -> tuple[BaseMethod, Batcher]:
    setting = Setting(
        run, data, data.rows("train", run.student.modalities), build_student(run.student, data, 0).widths
    )
    return METHODS[run.method.type](setting), Batcher(data, run.student, needs_of(run), teachers_needed(run))


def output_of(logits: torch.Tensor) -> StudentOutput:
    return StudentOutput(logits, torch.zeros(len(logits), 1), {})


@pytest.mark.parametrize("method", LEARNED, ids=str)
def test_a_method_learns_several_labels(data: TransferSet, method: dict[str, Any]) -> None:
    run = several(method)
    assert unmet(run) == ""
    ours, batcher = built(run, data)
    student, rows = build_student(run.student, data, 0), data.rows("train", run.student.modalities)[:12]
    for progress in (0.0, 1.0):
        student.zero_grad(set_to_none=True)
        batch = batcher.batch(rows)
        assert batch.labels.shape == (12, 7)
        terms = ours.loss(student(batch, ours.attention(progress)), batch, progress)
        assert terms and all(t.shape == () and torch.isfinite(t) for t in terms.values())
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert sum(float(p.grad.abs().sum()) for p in student.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("method", REFUSED, ids=str)
def test_a_method_of_one_label_is_refused(method: dict[str, Any]) -> None:
    assert "reads the one label of each utterance, and corpus standin has several" in unmet(several(method))


def test_a_student_of_one_label_is_refused() -> None:
    run = run_of({"type": "multi_level_fusion"}, {"type": "supervised"}, corpus=CORPUS)
    assert "student multi_level_fusion fuses its members for one label" in unmet(run)
    assert unmet(run_of({"type": "multi_level_fusion"}, {"type": "supervised"})) == ""


@pytest.mark.parametrize("name", list(Terms.model_fields))
def test_a_term_learns_several_labels_or_is_refused(data: TransferSet, name: str) -> None:
    run = several({"type": "distil", "terms": {name: {"enabled": True}}})
    assert (unmet(run) == "") == (name in TERMS_LEARNED)
    if name in TERMS_LEARNED:
        case = TermCase(name, run, data)
        value = case.value(case.output())
        assert torch.isfinite(value) and float(value.detach()) != 0


@pytest.mark.parametrize("weighting", ["balanced", "none"])
def test_the_labels_loss_is_torchs_with_the_weights_of_train(data: TransferSet, weighting: str) -> None:
    ours, batcher = built(several({"type": "supervised"}, label_weights=weighting, label_smoothing=0.2), data)
    rows = data.rows("train", ("audio", "text"))
    assert data.targets is not None
    present = torch.from_numpy(np.asarray(data.targets[rows])).sum(dim=0)
    weights = ((len(rows) - present) / present).clamp(1, 10)
    assert len(set(weights.tolist())) > 1
    batch = batcher.targets(rows[:20])
    logits = torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
    found = ours.own(output_of(logits), batch, 1.0)["ce"]
    pos_weight = weights if weighting == "balanced" else None
    expected = F.binary_cross_entropy_with_logits(logits, batch.labels * 0.8 + 0.1, pos_weight=pos_weight)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_weights_are_of_the_rows_that_are_learned_from_alone(data: TransferSet) -> None:
    run = several({"type": "supervised"})
    assert data.targets is not None
    widths = build_student(run.student, data, 0).widths
    one = METHODS["supervised"](Setting(run, data, np.flatnonzero(data.targets[:, 2]), widths))
    logits, labels = torch.zeros(1, 7), torch.eye(7)[[2]]
    batch = built(run, data)[1].targets(np.array([0]))
    batch.labels.copy_(labels)
    # Label 2 is in every one of those rows, so that its weight is 1, and every term of the mean is log 2.
    assert one.labelled(logits, batch).item() == pytest.approx(float(np.log(2)))


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("kd", {"type": "cmd", "kd_weight": 0.25, "temperature": 3}),
        ("term_kd", {"type": "distil", "terms": {"kd": {"enabled": True, "weight": 0.25, "temperature": 3}}}),
    ],
)
def test_logits_are_distilled_label_by_label(data: TransferSet, name: str, method: dict[str, Any]) -> None:
    run = several(method)
    ours, batcher = built(run, data)
    student, rows = build_student(run.student, data, 0), data.rows("train", run.student.modalities)[:12]
    batch = batcher.batch(rows)
    output = student(batch)
    expected = binary_kd(output.logits, batch.teachers[run.teachers.best].logits, 3.0)
    assert ours.loss(output, batch, 1.0)[name].item() == pytest.approx(0.25 * expected.item(), rel=1e-5)
