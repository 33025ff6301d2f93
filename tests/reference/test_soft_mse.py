"""MetaDistil's soft loss against numbers worked by hand and torch's own."""

from __future__ import annotations

from math import log

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.losses.distillation import soft_mse


def logits(seed: int) -> Tensor:
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("tau", [1.0, 5.0])
def test_by_hand(tau: float) -> None:
    # (3/4, 1/4) against (1/2, 1/2): (1/16 + 1/16) / 2 = 1/16.
    loss = soft_mse(torch.zeros(1, 2), tau * torch.tensor([[log(3), 0.0]]), tau)
    assert loss.item() == pytest.approx(tau**2 / 16, rel=1e-5)


def test_against_torch() -> None:
    expected = 25 * F.mse_loss((logits(1) / 5).softmax(dim=1), (logits(2) / 5).softmax(dim=1))
    assert soft_mse(logits(1), logits(2), 5.0).item() == pytest.approx(expected.item(), rel=1e-12)


def test_a_sample_of_weight_0_has_no_say() -> None:
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    expected = 2 / 5 * soft_mse(logits(1)[[0, 2]], logits(2)[[0, 2]], 2.0).item()
    assert soft_mse(logits(1), logits(2), 2.0, weights).item() == pytest.approx(expected, rel=1e-12)


def test_both_sides_and_the_temperature_learn() -> None:
    tau = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.5], dtype=torch.float64, requires_grad=True)
    inputs = (logits(1).requires_grad_(), logits(2).requires_grad_(), tau)
    assert torch.autograd.gradcheck(soft_mse, inputs)
    assert torch.autograd.gradgradcheck(soft_mse, inputs)


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([[1e3, -1e3]], requires_grad=True)
    loss = soft_mse(student, torch.tensor([[-1e3, 1e3]]), 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 1.0
    assert torch.isfinite(gradient).all()
