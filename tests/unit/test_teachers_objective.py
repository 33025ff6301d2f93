"""What a teacher's logits are held against: numbers worked by hand, one label or several."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from trainables.errors import SpecError
from trainables.spec import FineTuning, RunSpec
from trainables.spec.demands import unmet
from trainables.teachers.objective import Objective

CPU = torch.device("cpu")
SEVERAL = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], dtype=np.float32)
"""The first label is absent three times for once, the second as often as it is there."""


def test_several_labels_weigh_by_how_rare_they_are() -> None:
    objective = Objective(SEVERAL, 2, FineTuning(), CPU)
    assert objective.several and objective.weights.tolist() == [3.0, 1.0]
    logits = torch.tensor([[math.log(3.0), 0.0], [0.0, math.log(3.0)]])  # sigmoids 3/4, 1/2
    first = (3 * -math.log(0.75) - math.log(0.5)) / 2
    second = (-math.log(0.5) - math.log(0.75)) / 2
    assert objective.loss(logits, np.array([0, 1])).item() == pytest.approx(first + second, abs=1e-6)
    assert objective.weight(np.array([0, 1, 3])).item() == 3


def test_smoothing_moves_each_label_towards_a_half() -> None:
    objective = Objective(SEVERAL[2:], 2, FineTuning(label_smoothing=0.2), CPU)
    logits = torch.tensor([[0.0, math.log(3.0)]])
    expected = (math.log(2) - 0.9 * math.log(0.75) - 0.1 * math.log(0.25)) / 2  # y = 0.1 and 0.9, weights 1 and 1
    assert objective.weights.tolist() == [1.0, 1.0]
    assert objective.loss(logits, np.array([0])).item() == pytest.approx(expected, abs=1e-6)


def test_one_label_is_weighed_by_its_class() -> None:
    objective = Objective(np.array([0, 0, 0, 1]), 2, FineTuning(class_weights="inverse"), CPU)
    assert not objective.several and objective.weights.tolist() == pytest.approx([2 / 3, 2.0])
    assert objective.weight(np.array([0, 3])).item() == pytest.approx(8 / 3)
    loss = objective.loss(torch.zeros(2, 2), np.array([0, 3]))
    assert loss.item() == pytest.approx(8 / 3 * math.log(2), abs=1e-6)


def test_class_weights_of_several_labels_are_refused() -> None:
    with pytest.raises(SpecError, match="class_weights: inverse: the corpus has several labels"):
        Objective(SEVERAL, 2, FineTuning(class_weights="inverse"), CPU)


def run_of(method: Mapping[str, object], student: list[str], **corpus: object) -> RunSpec:
    """A student of S3 on the stand-in with three teachers of one modality."""
    return RunSpec.model_validate(
        {
            "corpus": {"type": "standin", "modalities": ["audio", "text", "visual"], **corpus},
            "teachers": {"text": {"training": {"class_weights": "inverse"}}, "visual": {}},
            "student": {"type": "cross_modal_transformer", "modalities": student},
            "method": method,
        }
    )


def test_the_check_refuses_class_weights_of_a_teacher_of_several_labels() -> None:
    method = {"type": "supervised"}
    assert unmet(run_of(method, ["audio", "visual"])) == ""
    fault = unmet(run_of(method, ["audio", "visual"], several=True))
    assert fault.startswith("teachers.text.training.class_weights: inverse: corpus standin has several labels")


ATTENTION = {"type": "distil", "terms": {"attention": {"enabled": True}}}


@pytest.mark.parametrize(("student", "met"), [(["audio", "visual"], True), (["visual"], False)])
def test_maps_over_time_are_audio_s_and_text_s(student: list[str], met: bool) -> None:
    fault = unmet(run_of(ATTENTION, student))
    assert ("a visual teacher attends over the patches" in fault) is not met
    assert (fault == "") is met
