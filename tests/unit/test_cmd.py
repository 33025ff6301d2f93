from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher
from trainables.losses.contrastive import info_nce
from trainables.method import Setting
from trainables.methods.cmd import CMDMethod
from trainables.spec.demands import needs_of, teachers_needed
from trainables.students import StudentOutput, build_student
from trainables.transfer_set import TransferSet

TEACHER = {"encoder": {"type": "scratch"}}
NONE: dict[str, Any] = {"self_weight": 0, "cross_weight": 0, "kd_weight": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), attention=True)


class Case:
    """A method with a batch of eight rows and the student's output on it."""

    def __init__(
        self,
        data: TransferSet,
        student: dict[str, Any] | None = None,
        parts: dict[str, Any] | None = None,
        **method: Any,
    ) -> None:
        run = small_run(method={"type": "cmd", **method}, student=student or {}, **(parts or {}))
        rows = data.rows("train", run.student.modalities)
        self.student = build_student(run.student, data, 0).eval()
        torch.manual_seed(0)
        self.method = CMDMethod(Setting(run, data, rows, self.student.widths))
        batcher = Batcher(data, self.student.spec, needs_of(run), teachers_needed(run))
        self.batch: Batch = batcher.batch(rows[:8])
        self.output: StudentOutput = self.student(self.batch, self.method.attention(0.0))

    def terms(self, progress: float, batch: Batch | None = None) -> dict[str, float]:
        return {k: v.item() for k, v in self.method.loss(self.output, batch or self.batch, progress).items()}

    def contrast(self, source: str, target: str, negatives: Tensor | None) -> float:
        """One term by its formula, from the projections."""
        vectors = self.output.pooled if source == target else self.output.crossed
        u = self.method._projections.student[source](vectors[source])  # type: ignore[index]
        v = self.method._projections.teacher[target](self.batch.teachers[target].pooled)
        return info_nce(u, v, 0.1, negatives).item()


@pytest.mark.parametrize(
    ("method", "student", "progress", "names"),
    [
        ({}, {}, 0.0, {"contrast_self", "contrast_cross"}),
        ({}, {}, 0.2, {"contrast_self", "contrast_cross", "ce", "kd"}),
        ({"phases": "joint"}, {}, 0.0, {"contrast_self", "contrast_cross", "ce", "kd"}),
        ({}, {"modalities": ["audio"]}, 0.0, {"contrast_self"}),
        ({"cross_weight": 0}, {}, 1.0, {"contrast_self", "ce", "kd"}),
        ({"attention_weight": 0.1}, {}, 0.0, {"contrast_self", "contrast_cross", "attention"}),
        (NONE, {}, 0.0, {"ce"}),
        ({**NONE, "kd_weight": 0.5}, {"modalities": ["text"]}, 0.0, {"ce", "kd"}),
    ],
)
def test_which_terms_count_when(
    data: TransferSet, method: dict[str, Any], student: dict[str, Any], progress: float, names: set[str]
) -> None:
    assert set(Case(data, student, **method).terms(progress)) == names


@pytest.mark.parametrize(
    ("phase_one", "epochs", "representation"),
    [(0.2, 40, 8), (0.2, 10, 2), (0.2, 5, 1), (0.2, 1, 0), (1.0, 4, 3), (0.0, 4, 0)],
)
def test_phase_one_lasts_its_share_and_leaves_an_epoch(
    data: TransferSet, phase_one: float, epochs: int, representation: int
) -> None:
    method = Case(data, phase_one=phase_one).method
    progress = [e / (epochs - 1) if epochs > 1 else 1.0 for e in range(epochs)]
    assert [method.phase(p) for p in progress].count("representation") == representation


def test_phase_one_needs_no_labels(data: TransferSet) -> None:
    case = Case(data)
    other = replace(case.batch, labels=(case.batch.labels + 1) % 7)
    assert case.terms(0.0, other) == case.terms(0.0)
    assert case.terms(1.0, other) != case.terms(1.0)


def test_contrasts_by_their_formula(data: TransferSet) -> None:
    """Text hashes come in pairs here: they are no negatives wherever text is on a side."""
    case = Case(data, self_weight=0.5, cross_weight=2.0)
    pair = torch.arange(8) // 2
    apart = (pair[:, None] != pair[None]) | torch.eye(8, dtype=torch.bool)
    own = case.contrast("audio", "audio", None) + case.contrast("text", "text", apart)
    across = case.contrast("audio", "text", apart) + case.contrast("text", "audio", apart)
    terms = case.terms(0.0)
    assert terms["contrast_self"] == pytest.approx(0.5 * own, rel=1e-5)
    assert terms["contrast_cross"] == pytest.approx(2.0 * across, rel=1e-5)
    assert case.contrast("text", "text", None) > case.contrast("text", "text", apart)


def test_equal_texts_are_negatives_of_each_other_in_what_is_seen(tmp_path: Path) -> None:
    """Two faces that say the same are two faces; of acted corpora all would say one of a few sentences."""
    data = synthetic(tmp_path, modalities=("audio", "visual"))
    seen = {"corpus": {"type": "standin", "modalities": ("audio", "visual")}}
    teachers = {"audio": TEACHER, "visual": TEACHER, "text": None}
    student = {"type": "cross_modal_transformer", "modalities": ("visual",)}
    case = Case(data, student, seen | {"teachers": teachers}, cross_weight=0, self_weight=1)
    one_text = replace(case.batch, text_hash=torch.zeros_like(case.batch.text_hash))
    assert case.terms(0.0, one_text)["contrast_self"] == pytest.approx(case.contrast("visual", "visual", None))


def test_classification_by_its_formula(data: TransferSet) -> None:
    """(1 - alpha) CE + alpha tau^2 KL, from the fusion teacher."""
    case = Case(data, **NONE | {"kd_weight": 0.3}, temperature=3.0)
    logits, teacher = case.output.logits, case.batch.teachers["fusion"].logits
    ce = F.cross_entropy(logits, case.batch.labels).item()
    p = (teacher / 3).softmax(1)
    kl = (p * (p.log() - (logits / 3).log_softmax(1))).sum(1).mean().item()
    terms = case.terms(1.0)
    assert terms["ce"] == pytest.approx(0.7 * ce, rel=1e-5)
    assert terms["kd"] == pytest.approx(0.3 * 9 * kl, rel=1e-4)


def test_sample_weights_scale_the_classification(data: TransferSet) -> None:
    case = Case(data, **NONE | {"kd_weight": 0.5})
    half = case.terms(1.0, replace(case.batch, weights=torch.full((8,), 0.5)))
    assert half == pytest.approx({k: v / 2 for k, v in case.terms(1.0).items()}, rel=1e-5)


def test_weights_and_temperature_follow_their_schedules(data: TransferSet) -> None:
    linear = {"shape": "linear", "start": 1.0, "end": 0.0}
    case = Case(data, phases="joint", self_weight=linear, kd_weight=linear, temperature={**linear, "end": 3.0})
    first, middle, last = (case.terms(p) for p in (0.0, 0.5, 1.0))
    assert middle["contrast_self"] == pytest.approx(first["contrast_self"] / 2)
    assert last["contrast_self"] == last["kd"] == first["ce"] == 0
    assert last["ce"] == pytest.approx(2 * middle["ce"])
    assert [case.method.values(p)["temperature"] for p in (0.0, 0.5, 1.0)] == [1.0, 2.0, 3.0]


def test_same_label_positives_change_the_contrast(data: TransferSet) -> None:
    # Rows 0..7 have labels 0..6 and 0: one pair shares its label.
    same, instance = Case(data, positives="same_label"), Case(data)
    assert same.terms(0.0)["contrast_self"] != instance.terms(0.0)["contrast_self"]


@pytest.mark.parametrize(("modality", "other"), [("audio", "text"), ("text", "audio")])
def test_one_modality_learns_from_the_best_teacher(data: TransferSet, modality: str, other: str) -> None:
    case = Case(data, {"modalities": [modality]})
    assert set(case.batch.teachers) == {modality, "fusion"}
    fusion = case.batch.teachers["fusion"]
    changed = {**case.batch.teachers, "fusion": replace(fusion, logits=fusion.logits.flip(1))}
    before, after = case.terms(1.0), case.terms(1.0, replace(case.batch, teachers=changed))
    assert before["kd"] != after["kd"] and before["contrast_self"] == after["contrast_self"]
    assert not any(other in name for name, _ in case.method.heads.named_parameters())


def test_the_curriculum_starts_with_what_the_teacher_finds_easy(data: TransferSet) -> None:
    case = Case(data, curriculum={"type": "teacher_nll", "start_fraction": 0.5, "grow": 1.0})
    rows = data.rows("train", ("audio", "text"))
    chosen = case.method.sampling(0.0).rows
    assert chosen is not None and len(chosen) < 0.6 * len(rows)
    logits = torch.from_numpy(np.array(data.teachers["fusion"].logits))
    nll = F.cross_entropy(logits, torch.from_numpy(np.array(data.label)), reduction="none").numpy()
    left = np.setdiff1d(rows, chosen)
    for label in range(7):
        assert nll[chosen[data.label[chosen] == label]].max() <= nll[left[data.label[left] == label]].min()


@pytest.mark.parametrize("weight", [1.5, {"shape": "linear", "start": 0, "end": 2}])
def test_labels_never_weigh_below_zero(weight: object) -> None:
    with pytest.raises(ValidationError, match=r"within \[0, 1\]"):
        small_run(method={"type": "cmd", "kd_weight": weight})
