"""Supervised contrast against numbers worked by hand and a loop that follows the formula."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from trainables.losses.contrastive import sup_con

LABELS = torch.tensor([0, 0, 1, 2, 0, 1])  # 2 stands alone


def vectors(seed: int, rows: int = 6, width: int = 4) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(u: Tensor, labels: list[int], tau: float) -> list[float]:
    """The term of each anchor."""
    terms = []
    for i in range(len(u)):
        score = [float(u[i] @ x / u[i].norm() / x.norm()) / tau for x in u]
        others = [j for j in range(len(u)) if j != i]
        bottom = log(sum(exp(score[j]) for j in others))
        positives = [j for j in others if labels[j] == labels[i]]
        terms.append(-sum(score[j] - bottom for j in positives) / max(len(positives), 1))
    return terms


@pytest.mark.parametrize(("base", "factor"), [(1.0, 1.0), (0.07, 1 / 0.07), (2.0, 0.5)])
def test_by_hand(base: float, factor: float) -> None:
    # u_0 = u_1, u_2 orthogonal to both; labels 0, 0, 1; tau 1. Anchors 0 and 1: log(1 + e^-1) = 0.3132617;
    # anchor 2 has no positive: 0. Mean 0.2088411, times 1 / base.
    u = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    loss = sup_con(u, torch.tensor([0, 0, 1]), 1.0, base_temperature=base)
    assert loss.item() == pytest.approx(factor * 0.2088411, rel=1e-6)


def test_the_base_temperature_is_the_authors() -> None:
    assert sup_con(vectors(1), LABELS, 0.07).item() == sup_con(vectors(1), LABELS, 0.07, 0.07).item()


@pytest.mark.parametrize("tau", [0.07, 0.5, 1.0])
def test_against_the_loop(tau: float) -> None:
    terms = naive(vectors(1), LABELS.tolist(), tau)
    assert terms[3] == 0
    assert sup_con(vectors(1), LABELS, tau, tau).item() == pytest.approx(sum(terms) / 6, rel=1e-10)


def test_weights_are_the_anchors() -> None:
    terms, weights = naive(vectors(1), LABELS.tolist(), 0.3), [1.0, 0.0, 0.5, 1.0, 2.0, 0.0]
    expected = sum(w * term for w, term in zip(weights, terms, strict=True)) / 6
    loss = sup_con(vectors(1), LABELS, 0.3, 0.3, torch.tensor(weights, dtype=torch.float64))
    assert loss.item() == pytest.approx(expected, rel=1e-10)
    assert sup_con(vectors(1), LABELS, 0.3, 0.3, torch.zeros(6)).item() == 0


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 5], [3, 3, 3, 3, 3, 3], [0, 0, 1, 2, 0, 1]])
def test_gradients(labels: list[int]) -> None:
    label = torch.tensor(labels)
    assert torch.autograd.gradcheck(lambda u: sup_con(u, label, 0.5), (vectors(1).requires_grad_(),))
    assert torch.autograd.gradgradcheck(lambda u: sup_con(u, label, 0.5), (vectors(1).requires_grad_(),))


@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 1, 2]])
def test_without_a_positive_there_is_nothing(labels: list[int]) -> None:
    u = vectors(1, len(labels)).requires_grad_()
    loss = sup_con(u, torch.tensor(labels), 0.07)
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.item() == 0
    assert gradient.abs().max().item() == 0


def test_two_of_one_label_are_certain() -> None:
    u = vectors(1, 2).requires_grad_()
    loss = sup_con(u, torch.tensor([5, 5]), 0.07)
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert gradient.abs().max().item() < 1e-9


def test_identical_rows_are_a_draw() -> None:
    # All six alike: each anchor with positives gives log 5; one of six has none.
    u = torch.ones(6, 4, dtype=torch.float64, requires_grad=True)
    loss = sup_con(u, LABELS, 0.1, 0.1)
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.item() == pytest.approx(5 / 6 * log(5), rel=1e-10)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("tau", [1e-3, 0.07])
def test_extremes_stay_finite(tau: float) -> None:
    u = (1e3 * vectors(1)).float().requires_grad_()
    loss = sup_con(u, LABELS, tau)
    (gradient,) = torch.autograd.grad(loss, u)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
