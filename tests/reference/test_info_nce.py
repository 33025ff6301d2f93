"""Contrast against numbers worked by hand and a loop that follows the formula."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from trainables.losses.contrastive import info_nce, same_label_mask, same_text_mask

TEXT = torch.tensor([11, 22, 11, 33, 22, 11])
LABEL = torch.tensor([0, 0, 1, 2, 0, 1])


def vectors(seed: int, rows: int = 6, width: int = 4) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(u: Tensor, v: Tensor, temperature: float, negatives: Tensor | None, positives: Tensor | None) -> float:
    """The formula, pair by pair."""
    rows = len(u)

    def similarity(i: int, j: int) -> float:
        return float(u[i] @ v[j] / (u[i].norm() * v[j].norm())) / temperature

    def one_way(
        score: Callable[[int, int], float], may: Callable[[int, int], bool], is_p: Callable[[int, int], bool]
    ) -> float:
        total = 0.0
        for i in range(rows):
            of_i = [j for j in range(rows) if j == i or is_p(i, j)]
            kept = [j for j in range(rows) if j in of_i or may(i, j)]
            bottom = log(sum(exp(score(i, j)) for j in kept))
            total -= sum(score(i, j) - bottom for j in of_i) / len(of_i)
        return total / rows

    def may(i: int, j: int) -> bool:
        return negatives is None or bool(negatives[i, j])

    def is_positive(i: int, j: int) -> bool:
        return positives is not None and bool(positives[i, j])

    forth = one_way(similarity, may, is_positive)
    back = one_way(lambda i, j: similarity(j, i), lambda i, j: may(j, i), lambda i, j: is_positive(j, i))
    return (forth + back) / 2


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, log(1 + exp(-1))), (0.5, log(1 + exp(-2)))])
def test_two_orthogonal_pairs_by_hand(temperature: float, expected: float) -> None:
    # u = v = unit vectors along the axes: similarities are 1 on the diagonal, 0 off it; every row of both
    # directions gives -log(e^(1/t) / (e^(1/t) + 1)) = log(1 + e^(-1/t)). At t = 1: 0.3132617.
    assert info_nce(torch.eye(2), torch.eye(2), temperature).item() == pytest.approx(expected, abs=1e-6)


def test_the_directions_are_averaged_by_hand() -> None:
    # u_1 = u_2 = (1, 0); v_1 = (1, 0), v_2 = (0, 1): similarities [[1, 0], [1, 0]].
    # u -> v: rows log(1 + e^-1) = 0.3132617 and log(1 + e) = 1.3132617, mean 0.8132617.
    # v -> u: both rows are tied: log 2 = 0.6931472. Mean of the two: 0.7532044.
    loss = info_nce(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2), 1.0)
    assert loss.item() == pytest.approx(0.7532044, abs=1e-6)


def test_lengths_do_not_matter() -> None:
    u, v = vectors(1), vectors(2)
    assert info_nce(7 * u, 0.1 * v, 0.1).item() == pytest.approx(info_nce(u, v, 0.1).item(), rel=1e-12)


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("form", ["instance", "same_label"])
def test_against_the_loop(temperature: float, masked: bool, form: str) -> None:
    negatives = ~same_text_mask(TEXT) if masked else None
    positives = same_label_mask(LABEL) if form == "same_label" else None
    loss = info_nce(vectors(1), vectors(2), temperature, negatives, positives)
    expected = naive(vectors(1), vectors(2), temperature, negatives, positives)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_asymmetric_masks_are_turned_for_the_way_back() -> None:
    mask = torch.tensor([[True, True, False], [False, True, True], [True, False, True]])
    u, v = vectors(5, 3), vectors(6, 3)
    assert info_nce(u, v, 0.2, mask).item() == pytest.approx(naive(u, v, 0.2, mask, None), rel=1e-10)


def test_a_masked_negative_has_no_influence() -> None:
    # Only u_0 is given negatives, so v_2 enters the loss through the pair (0, 2) alone (its own pair is certain).
    only_first = torch.tensor([[True] * 3, [False] * 3, [False] * 3])
    same_text = same_text_mask(torch.tensor([1, 2, 1]))
    u, v = vectors(5, 3), vectors(6, 3).requires_grad_()
    (free,) = torch.autograd.grad(info_nce(u, v, 0.5, only_first), v)
    (masked,) = torch.autograd.grad(info_nce(u, v, 0.5, only_first & ~same_text), v)
    assert free[2].abs().max().item() > 1e-3
    assert masked[2].abs().max().item() < 1e-12
    assert masked[1].abs().max().item() > 1e-3


@pytest.mark.parametrize("rows", [1, 4])
def test_rows_without_negatives_give_zero_and_zero_gradient(rows: int) -> None:
    text = torch.zeros(rows, dtype=torch.int64)
    u = vectors(1, rows).requires_grad_()
    loss = info_nce(u, vectors(2, rows), 0.07, ~same_text_mask(text))
    (gradient,) = torch.autograd.grad(loss, u)
    assert loss.item() == 0
    assert gradient.abs().max().item() < 1e-12


def test_a_batch_of_one_gives_zero_without_masks() -> None:
    assert info_nce(vectors(1, 1), vectors(2, 1), 0.07).item() == 0


def test_a_same_label_pair_is_a_positive_even_where_its_text_is_masked() -> None:
    everything = torch.zeros(2, dtype=torch.int64)
    loss = info_nce(torch.eye(2), torch.eye(2), 1.0, ~same_text_mask(everything), same_label_mask(everything))
    # Both candidates are positives: -(1 + 0) / 2 + log(e + 1) = 0.8132617.
    assert loss.item() == pytest.approx(-0.5 + log(exp(1) + 1), abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-3, 0.01])
def test_small_temperatures_stay_finite(temperature: float) -> None:
    u = vectors(1).float().requires_grad_()
    loss = info_nce(u, -vectors(1).float(), temperature, ~same_text_mask(TEXT))
    (gradient,) = torch.autograd.grad(loss, u)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("form", ["instance", "same_label"])
def test_gradient(form: str) -> None:
    positives = same_label_mask(LABEL) if form == "same_label" else None
    inputs = (vectors(1).requires_grad_(), vectors(2).requires_grad_())
    assert torch.autograd.gradcheck(lambda u, v: info_nce(u, v, 0.3, ~same_text_mask(TEXT), positives), inputs)


def test_masks_leave_out_the_diagonal() -> None:
    assert same_text_mask(torch.tensor([5, 7, 5])).tolist() == [
        [False, False, True],
        [False, False, False],
        [True, False, False],
    ]
    assert torch.equal(same_label_mask(LABEL), same_label_mask(LABEL).T)
    assert same_label_mask(LABEL).sum().item() == 3 * 2 + 2 * 1  # three zeros, two ones, one two
