"""The reversed gradient and CTKD's schedule by hand."""

from __future__ import annotations

import pytest
import torch

from trainables.losses.distillation import kd
from trainables.losses.reversal import ctkd_scale, scale_gradient


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (0, 0.0),
        (10 / 3, -0.25),  # -(1 - cos 60 degrees) / 2
        (5, -0.5),
        (20 / 3, -0.75),
        (10, -1.0),
        (40, -1.0),
    ],
)
def test_the_schedule(epoch: float, expected: float) -> None:
    assert ctkd_scale(epoch) == pytest.approx(expected, abs=1e-12)
    assert ctkd_scale(epoch / 100, epochs=0.1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("scale", [-1.0, -0.5, 0.0, 1.0])
def test_the_value_stays_and_the_gradient_is_scaled(scale: float) -> None:
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = scale_gradient(x, scale)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    assert y.tolist() == [1.0, -2.0]
    assert gradient.tolist() == [scale * 2.0, scale * -4.0]


def test_it_can_be_differentiated_twice() -> None:
    # y = x^3 behind a reversal: first -3 x^2, whose own gradient passes the reversal of x again: (-1)^2 6 x.
    x = torch.tensor(2.0, requires_grad=True)
    (first,) = torch.autograd.grad(scale_gradient(x, -1.0) ** 3, x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    assert (first.item(), second.item()) == (-12.0, 12.0)


def test_a_step_downhill_behind_a_reversal_raises_the_loss() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = (torch.randn(8, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    tau = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    before = kd(student, teacher, scale_gradient(tau, ctkd_scale(10)))
    (gradient,) = torch.autograd.grad(before, tau)
    after = kd(student, teacher, tau - 0.1 * gradient)
    assert gradient.abs().item() > 1e-4
    assert after.item() > before.item()


def test_it_works_in_functional_gradients() -> None:
    gradient = torch.func.grad(lambda x: scale_gradient(x, -0.5) ** 2)(torch.tensor(3.0))
    assert gradient.item() == -3.0
