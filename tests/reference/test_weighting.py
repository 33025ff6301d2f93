"""Learned weights of terms by hand."""

from __future__ import annotations

from math import log

import pytest
import torch
from torch import Tensor

from trainables.losses.weighting import homoscedastic

TERMS = {"ce": torch.tensor(2.0, dtype=torch.float64), "kd": torch.tensor(3.0, dtype=torch.float64)}


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("log_variances", "expected"),
    [
        ([0.0, 0.0], 5.0),
        ([0.0, log(3)], 2 + 0 + 1 + log(3)),
        ([-log(2), log(6)], 4 - log(2) + 1 / 2 + log(6)),
    ],
)
def test_by_hand(log_variances: list[float], expected: float) -> None:
    assert homoscedastic(TERMS, double(log_variances)).item() == pytest.approx(expected, rel=1e-12)


def test_the_least_is_at_the_logarithm_of_the_loss() -> None:
    best = double([log(2), log(3)]).requires_grad_()
    (gradient,) = torch.autograd.grad(homoscedastic(TERMS, best), best)
    assert gradient.abs().max().item() < 1e-12


def test_gradients_reach_terms_and_variances() -> None:
    inputs = (double(2.0).requires_grad_(), double(3.0).requires_grad_(), double([0.3, -0.4]).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b, s: homoscedastic({"a": a, "b": b}, s), inputs)


@pytest.mark.parametrize("count", [1, 3])
def test_each_term_has_its_variance(count: int) -> None:
    with pytest.raises(ValueError, match=rf"2 losses \['ce', 'kd'\], log-variances \[{count}\]"):
        homoscedastic(TERMS, torch.zeros(count))


def test_without_terms_there_is_nothing() -> None:
    assert homoscedastic({}, torch.zeros(0)).item() == 0
