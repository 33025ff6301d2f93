"""The curriculum's difficulty, pacing, quotas and weights, by hand."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, exp, log

import numpy as np
import pytest
from sklearn.metrics import log_loss

from trainables.curriculum import difficulty, hard_selection, pacing, soft_weights
from trainables.spec.method import Curriculum

LABELS = np.array([0] * 70 + [1] * 20 + [2] * 10)
DIFFICULTY = np.random.default_rng(0).exponential(size=100) + LABELS  # the rare classes are the hard ones


def test_difficulty_is_the_teachers_nll() -> None:
    # softmax(log 3, 0) = (3/4, 1/4): 0.2876821 for label 0, 1.3862944 for label 1.
    logits = np.array([[log(3), 0.0], [log(3), 0.0]], dtype=np.float32)
    assert difficulty(logits, np.array([0, 1])).tolist() == pytest.approx([log(4 / 3), log(4)], abs=1e-6)


def test_difficulty_agrees_with_scikit_learn_and_bears_extremes() -> None:
    logits = np.random.default_rng(1).normal(size=(50, 7)) * 3
    labels = np.arange(50) % 7
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert difficulty(logits, labels).mean() == pytest.approx(log_loss(labels, softmax), rel=1e-9)
    assert difficulty(np.array([[1000.0, 0.0]]), np.array([1])).tolist() == [1000.0]


@pytest.mark.parametrize(
    ("start", "grow", "power", "progress", "expected"),
    [
        (0.3, 0.5, 1.0, 0.0, 0.3),
        (0.3, 0.5, 1.0, 0.25, 0.65),  # 0.3 + 0.7 / 2
        (0.3, 0.5, 2.0, 0.25, 0.475),  # 0.3 + 0.7 / 4
        (0.3, 0.5, 0.5, 0.125, 0.65),  # 0.3 + 0.7 sqrt(1/4)
        (0.3, 0.5, 1.0, 0.5, 1.0),
        (0.3, 0.5, 2.0, 0.9, 1.0),
        (1.0, 1.0, 1.0, 0.0, 1.0),
    ],
)
def test_pacing(start: float, grow: float, power: float, progress: float, expected: float) -> None:
    curriculum = Curriculum(type="teacher_nll", start_fraction=start, grow=grow, power=power)
    assert pacing(curriculum, progress) == pytest.approx(expected, abs=1e-12)


def test_hard_selection_by_hand() -> None:
    # Class 0: positions 0, 2, 4 with 3, 1, 2 nats; class 1: positions 1, 3 with 9, 8. At 1/2: ceil(1.5) = 2 and 1.
    chosen = hard_selection(np.array([3.0, 9.0, 1.0, 8.0, 2.0]), np.array([0, 1, 0, 1, 0]), 0.5)
    assert chosen.tolist() == [2, 3, 4]


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.35, 0.7, 1.0])
def test_quotas_hold_for_every_class(fraction: float) -> None:
    chosen = hard_selection(DIFFICULTY, LABELS, fraction)
    for label, count in ((0, 70), (1, 20), (2, 10)):
        members = np.equal(LABELS, label)
        kept = DIFFICULTY[chosen[members[chosen]]]
        assert len(kept) == ceil(round(fraction * count, 9))
        assert set(kept) == set(sorted(DIFFICULTY[members])[: len(kept)])
    assert chosen.dtype == np.int64
    assert (np.diff(chosen) > 0).all()


def test_a_quota_is_not_rounded_up_by_floating_point() -> None:
    assert len(hard_selection(np.arange(100.0), np.zeros(100, dtype=np.int64), 0.07)) == 7  # 7.000000000000001


def test_selections_are_nested_and_repeatable() -> None:
    ties = np.round(DIFFICULTY, 1)
    sizes = [set(hard_selection(ties, LABELS, g).tolist()) for g in (0.3, 0.5, 0.8, 1.0)]
    assert all(a < b for a, b in pairwise(sizes))
    assert sizes[-1] == set(range(100))


def test_soft_weights_by_hand() -> None:
    # Difficulties 0, 1, 2 of one class at g = 1/2: quantile 1, log(g / (1 - g)) = 0, s = 1/2:
    # sigmoid(2), sigmoid(0), sigmoid(-2).
    weights = soft_weights(np.array([0.0, 1.0, 2.0]), np.zeros(3, dtype=np.int64), 0.5, 0.5)
    assert weights.tolist() == pytest.approx([1 / (1 + exp(-2)), 0.5, 1 / (1 + exp(2))], abs=1e-6)


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.6, 0.9])
def test_a_sample_on_the_quantile_weighs_the_fraction(fraction: float) -> None:
    # Eleven equally spaced difficulties: the g-quantile is the sample 10 g.
    weights = soft_weights(np.arange(11.0), np.zeros(11, dtype=np.int64), fraction, 0.7)
    assert weights[round(10 * fraction)] == pytest.approx(fraction, abs=1e-6)
    assert (np.diff(weights) < 0).all()


def test_soft_weights_are_per_class() -> None:
    # The class that is harder by 5 nats throughout gets the same weights.
    base = np.array([0.1, 0.4, 2.0])
    weights = soft_weights(np.concatenate([base, base + 5]), np.array([0, 0, 0, 1, 1, 1]), 0.3, 0.5)
    assert weights[:3].tolist() == pytest.approx(weights[3:].tolist(), abs=1e-6)


def test_full_pacing_is_exactly_one_and_reached_without_a_jump() -> None:
    assert (soft_weights(DIFFICULTY, LABELS, 1.0, 0.5) == 1).all()
    assert soft_weights(DIFFICULTY, LABELS, 1 - 1e-9, 0.5).min() > 1 - 1e-6
