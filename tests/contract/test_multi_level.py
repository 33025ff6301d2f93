"""Every late fusion through a whole run: learned, fitted on dev alone, kept, exported, uncertain by dropout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.runs import KeepingReporter, without_seconds
from tests.helpers.transfer_sets import synthetic
from trainables.evaluation import export, load_exported, mc_predict, predict
from trainables.late_fusion import cross_fitted, fit
from trainables.reporter import ListReporter
from trainables.run import load_student, train
from trainables.spec import RunSpec
from trainables.spec.multi_level import Late
from trainables.students.multi_level import MultiLevelStudent
from trainables.transfer_set import TeacherOutputs, TransferSet

every_late = pytest.mark.parametrize("late", get_args(Late))


def run_of(late: Late = "weights", **student: Any) -> RunSpec:
    small = {"type": "multi_level_fusion", "width": 16, "heads": 2, "late": late, **student}
    return RunSpec.model_validate(
        {
            "corpus": {"type": "standin"},
            "student": small,
            "method": {"type": "supervised"},
            "training": {"epochs": 5, "batch_size": 16, "learning_rate": 5e-3, "patience": 0},
            "metric": "uar",
        }
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    """The label is in two words of a text, in a third of an utterance's frames, and in neither alone for all."""
    data = synthetic(tmp_path_factory.mktemp("data"), 350, frames=True, segments=True)
    rng = np.random.default_rng(0)
    teachers = {n: replace(t, frames=_marked(rng, data, t)) for n, t in data.teachers.items() if n != "fusion"}
    return replace(data, teachers={**data.teachers, **teachers})


def _marked(rng: np.random.Generator, data: TransferSet, teacher: TeacherOutputs) -> Any:
    assert teacher.frames is not None and teacher.frame_offsets is not None
    frames = np.array(teacher.frames)
    for row in range(len(data)):
        first, last = teacher.frame_offsets[row : row + 2]
        frames[first + rng.integers(0, last - first)] += 4 * np.eye(7, frames.shape[1])[data.label[row]]
    return frames


@every_late
def test_it_learns_and_is_itself_again_after_export(data: TransferSet, tmp_path: Path, late: Late) -> None:
    run, reporter = run_of(late), ListReporter()
    result = train(run, data, reporter, threads=1)
    assert [c["epoch"] for c in result.curves] == list(range(1, 6))
    assert {"loss/ce", "loss/members"} <= set(result.curves[0]) and result.score > 2 / 7
    student = load_student(run, data, result.student_state)
    export(student, run, data, tmp_path / "out")
    again, facts = load_exported(tmp_path / "out")
    before, after = predict(student, data, "test"), predict(again, data, "test")
    assert np.array_equal(before.logits, after.logits) and facts["student"]["late"] == late
    assert before.members is not None and before.members.shape == (70, 6, 7)


@every_late
def test_the_fit_is_of_dev_and_test_changes_nothing(data: TransferSet, late: Late) -> None:
    run = run_of(late)
    result = train(run, data, ListReporter(), threads=1)
    assert result.dev.members is not None
    members, labels = torch.from_numpy(result.dev.members), torch.from_numpy(result.dev.labels)
    student = load_student(run, data, result.student_state)
    assert isinstance(student, MultiLevelStudent)
    torch.testing.assert_close(student.late.fitted, fit(late, members, labels).float())
    assert np.array_equal(result.dev.logits, cross_fitted(late, members, labels).float().numpy())
    kept = student.late.fitted.clone()
    predict(student, data, "test")
    assert torch.equal(student.late.fitted, kept)


def test_dropout_speaks_of_uncertainty_with_the_fit_in_place(data: TransferSet) -> None:
    run = run_of("stacking")
    student = load_student(run, data, train(run, data, ListReporter(), threads=1).student_state)
    drawn = mc_predict(student, data, "test", 3, 0)
    assert drawn.shape == (3, 70, 7) and np.allclose(drawn.sum(2), 1, atol=1e-5)
    assert (drawn.std(0).max(1) > 0).all()
    assert not any(isinstance(m, nn.Dropout) for m in student.modules())


@pytest.mark.parametrize("modalities", [["audio"], ["text"]])
def test_one_modality_is_enough(data: TransferSet, modalities: list[str]) -> None:
    result = train(run_of(modalities=modalities), data, ListReporter(), threads=1)
    assert result.score > 1 / 7


def test_a_resumed_run_is_the_same_to_the_bit(data: TransferSet, tmp_path: Path) -> None:
    run, whole = run_of("weights"), ListReporter()
    first = train(run, data, whole, threads=1)
    half = KeepingReporter(kept=tmp_path / "kept", stop_after=2)
    train(run, data, half, threads=1)
    assert [epoch for epoch, _ in half.reports] == [1, 2]
    second = train(run, data, KeepingReporter(kept=tmp_path / "kept"), threads=1)
    assert without_seconds(second.curves) == without_seconds(first.curves)
    assert all(torch.equal(v, second.student_state[k]) for k, v in first.student_state.items())


def test_distillation_reaches_it(data: TransferSet) -> None:
    """Contrast on its pooled vectors, and the best teacher's logits on those of the mean."""
    run = run_of().model_dump(mode="json") | {"method": {"type": "cmd", "phases": "joint"}}
    result = train(RunSpec.model_validate(run), data, ListReporter(), threads=1)
    assert {"loss/kd", "loss/contrast_self", "loss/contrast_cross"} <= set(result.curves[0])
