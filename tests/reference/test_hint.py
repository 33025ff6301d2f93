"""FitNet's hint by hand."""

from __future__ import annotations

import pytest
import torch

from trainables.losses.hint import hint

STUDENT = torch.tensor([[1.0, 2.0], [0.0, 0.0], [5.0, 5.0]], dtype=torch.float64)
TARGET = torch.tensor([[0.0, 4.0], [3.0, 0.0], [5.0, 5.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (None, (5 / 2 + 9 / 2 + 0) / 3),  # (1 + 4) / 2, (9 + 0) / 2, 0
        ([1.0, 0.0, 1.0], 5 / 2 / 3),
        ([0.5, 2.0, 1.0], (5 / 4 + 9) / 3),
    ],
)
def test_by_hand(weights: list[float] | None, expected: float) -> None:
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    assert hint(STUDENT, TARGET, weight).item() == pytest.approx(expected, rel=1e-12)


def test_further_dimensions_are_features() -> None:
    assert hint(STUDENT.reshape(3, 1, 2), TARGET.reshape(3, 1, 2)).item() == hint(STUDENT, TARGET).item()


def test_the_target_gets_no_gradient_and_the_student_the_right_one() -> None:
    student, target = STUDENT.clone().requires_grad_(), TARGET.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: hint(s, TARGET), (student,))
    assert torch.autograd.grad(hint(student, target), target, allow_unused=True)[0] is None


def test_shapes_that_would_broadcast_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"student \[3, 2\] and target \[1, 2\]"):
        hint(STUDENT, TARGET[:1])
