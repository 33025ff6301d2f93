"""Contrastive regularisation by hand, and the pairs that are drawn for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import exp, log

import pytest
import torch
from torch import Tensor

from trainables.losses.pairs import bce, cpc, label_pairs, mine, shuffled_pairs

Loss = Callable[[Tensor, Tensor], Tensor]
NONE = torch.zeros(0, dtype=torch.float64)
LABELS = torch.tensor([0, 3, 0, 0, 3, 1, 0, 3])  # 4^2 + 3^2 + 1 = 26 same pairs, 64 - 26 = 38 different


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def as_set(pairs: Tensor) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in pairs}


# sigma(0) = 1/2, sigma(log 3) = 3/4.
@pytest.mark.parametrize(
    ("same", "different", "expected"),
    [
        (double([0.0]), double([log(3)]), log(2) + log(4)),
        (double([0.0, log(3)]), double([-log(3)]), (log(2) + log(4 / 3)) / 2 + log(4 / 3)),
        (double([log(3)]), NONE, log(4 / 3)),
        (NONE, double([log(3)]), log(4)),
        (NONE, NONE, 0.0),
    ],
)
def test_bce_by_hand(same: Tensor, different: Tensor, expected: float) -> None:
    assert bce(same, different).item() == pytest.approx(expected, abs=1e-12)


# The different: mean exp of 0 and log 3 is 2.
@pytest.mark.parametrize(
    ("same", "different", "expected"),
    [
        (double([1.0, 3.0]), double([0.0, log(3)]), log(2) - 2),
        (double([1.0, 3.0]), NONE, 0.0),
        (NONE, double([5.0]), 0.0),
        (NONE, NONE, 0.0),
    ],
)
def test_mine_by_hand(same: Tensor, different: Tensor, expected: float) -> None:
    assert mine(same, different).item() == pytest.approx(expected, abs=1e-12)


def test_mine_reaches_the_mutual_information() -> None:
    # A fair coin seen twice: I = log 2. The optimal D is log p(x, y) / p(x) p(y): log 2 where both agree, as the
    # joint always does, and minus infinity else.
    assert mine(double([log(2)] * 2), double([log(2), -1e3, log(2), -1e3])).item() == pytest.approx(-log(2))


@pytest.mark.parametrize("loss", [bce, mine])
def test_gradients_of_the_scores(loss: Loss) -> None:
    same = torch.randn(5, generator=seeded(), dtype=torch.float64).requires_grad_()
    different = torch.randn(7, generator=seeded(2), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(loss, (same, different))
    for left in ((same, NONE), (NONE, different)):  # a class alone in the batch
        value = loss(*left)
        gradients = torch.autograd.grad(value, [x for x in left if x.requires_grad])
        assert torch.isfinite(value)
        assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("loss", [bce, mine])
def test_extreme_scores_stay_finite(loss: Loss, sign: float) -> None:
    same = torch.tensor([sign * 1e3, 0.0], requires_grad=True)
    different = torch.tensor([1e3, sign * 1e3, -1e3], requires_grad=True)
    value = loss(same, different)
    gradients = torch.autograd.grad(value, (same, different))
    assert torch.isfinite(value)
    assert all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, log(1 + exp(-1))), (0.1, log(1 + exp(-10)))])
def test_cpc_by_hand(temperature: float, expected: float) -> None:
    # Two orthogonal pairs of any length.
    loss = cpc(double([[2.0, 0.0], [0.0, 5.0]]), double([[1.0, 0.0], [0.0, 0.1]]), temperature)
    assert loss.item() == pytest.approx(expected, rel=1e-10)


def test_cpc_picks_among_the_targets() -> None:
    # Both predictions are (1, 0), the targets the axes: row 1 log(1 + e^-1), row 2 log(1 + e).
    prediction, target = double([[1.0, 0.0], [1.0, 0.0]]), double([[1.0, 0.0], [0.0, 1.0]])
    assert cpc(prediction, target).item() == pytest.approx((log(1 + exp(-1)) + log(1 + exp(1))) / 2, rel=1e-10)
    only_second = cpc(prediction, target, weights=double([0.0, 1.0]))
    assert only_second.item() == pytest.approx(log(1 + exp(1)) / 2, rel=1e-10)


def test_cpc_leaves_out_what_is_no_negative() -> None:
    # All three predictions are (1, 0); the targets lie at cosine 1, 0 and -1. A row's own target always stays.
    prediction, target = double([[1.0, 0.0]] * 3), double([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    kept = torch.tensor([[False, True, False], [False, False, False], [True, True, True]])
    expected = (log(1 + exp(-1)) + 0 + log(1 + exp(1) + exp(2))) / 3
    assert cpc(prediction, target, negatives=kept).item() == pytest.approx(expected, rel=1e-10)


def test_cpc_gradient_and_a_batch_of_one() -> None:
    inputs = tuple(torch.randn(4, 3, generator=seeded(k), dtype=torch.float64).requires_grad_() for k in (1, 2))
    assert torch.autograd.gradcheck(lambda p, t: cpc(p, t, 0.3), inputs)
    assert cpc(inputs[0][:1], inputs[1][:1]).item() == 0


def test_label_pairs_are_balanced_and_what_they_say() -> None:
    same, different = label_pairs(LABELS, generator=seeded())
    assert (same.shape, different.shape) == ((26, 2), (26, 2))
    assert all(LABELS[i] == LABELS[j] for i, j in as_set(same))
    assert all(LABELS[i] != LABELS[j] for i, j in as_set(different))
    assert len(as_set(same)) == len(as_set(different)) == 26  # none comes twice
    assert {(i, i) for i in range(8)} <= as_set(same)  # all of the rarer kind


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (10, 10), (26, 26), (1000, 26)])
def test_the_limit_is_of_each_half(limit: int, count: int) -> None:
    assert [len(half) for half in label_pairs(LABELS, limit)] == [count, count]


@pytest.mark.parametrize(
    ("labels", "same", "different"),
    [
        ([4], 1, 0),  # one utterance
        ([4, 4, 4], 3, 0),  # one class: as many as rows
        ([0, 1], 2, 2),
        ([0, 1, 2, 3], 4, 4),  # only the true pairs are the same
        ([0, 0, 0, 1], 6, 6),  # 9 + 1 same, 6 different
        ([], 0, 0),
    ],
)
def test_label_pairs_of_small_batches(labels: list[int], same: int, different: int) -> None:
    found = label_pairs(torch.tensor(labels, dtype=torch.int64))
    assert [tuple(half.shape) for half in found] == [(same, 2), (different, 2)]


def test_a_batch_of_one_class_is_no_number_of_its_own() -> None:
    scores = torch.randn(4, 4, generator=seeded(), dtype=torch.float64).requires_grad_()
    same, different = label_pairs(torch.zeros(4, dtype=torch.int64))
    loss = bce(scores[same[:, 0], same[:, 1]], scores[different[:, 0], different[:, 1]])
    (gradient,) = torch.autograd.grad(loss, scores)
    assert torch.isfinite(loss)
    assert gradient.count_nonzero() == 4


def test_draws_follow_the_generator() -> None:
    found = [label_pairs(LABELS, 5, seeded(k)) for k in (1, 1, 2)]
    assert torch.equal(torch.stack(found[0]), torch.stack(found[1]))
    assert not torch.equal(torch.stack(found[0]), torch.stack(found[2]))
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(label_pairs(LABELS, 5)[1])
    assert torch.equal(*drawn)


def test_every_pair_is_as_likely() -> None:
    # Labels 0, 0, 1: five same pairs, of which four are drawn: each stays out in a fifth of 2000 draws, 400,
    # with a standard deviation of 18.
    generator = seeded()
    counts: Counter[tuple[int, int]] = Counter()
    for _ in range(2000):
        counts.update(as_set(label_pairs(torch.tensor([0, 0, 1]), generator=generator)[0]))
    assert set(counts) == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)}
    assert all(abs(2000 - count - 400) < 90 for count in counts.values())


def test_shuffled_pairs() -> None:
    same, different = shuffled_pairs(50, seeded())
    assert same.tolist() == [[i, i] for i in range(50)]
    assert different[:, 0].tolist() == list(range(50))
    assert sorted(different[:, 1].tolist()) == list(range(50))
    assert (different[:, 0] != different[:, 1]).sum() > 40
    assert torch.equal(different, shuffled_pairs(50, seeded())[1])
    assert shuffled_pairs(1)[1].tolist() == [[0, 0]]
