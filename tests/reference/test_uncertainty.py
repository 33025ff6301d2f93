"""Entropies and mutual information of MC dropout, by hand and against scipy."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.stats import entropy

from trainables.uncertainty import class_deviation, expected_entropy, mutual_information, predictive_entropy

DRAWN = np.random.default_rng(0).dirichlet(np.ones(7), size=(20, 50))

# Two passes, two classes, nats. Disagreement: (1, 0) and (0, 1): H of the mean log 2, mean of H 0, all mutual.
# Agreement on doubt: (1/2, 1/2) twice: H log 2, mean of H log 2, nothing mutual. Certainty: all 0.
# Between: (3/4, 1/4) and (1/4, 3/4): H log 2; mean of H -(3/4 log 3/4 + 1/4 log 1/4) = 0.5623351.
CASES = [
    ([[1.0, 0.0], [0.0, 1.0]], log(2), 0.0),
    ([[0.5, 0.5], [0.5, 0.5]], log(2), log(2)),
    ([[1.0, 0.0], [1.0, 0.0]], 0.0, 0.0),
    ([[0.75, 0.25], [0.25, 0.75]], log(2), 0.5623351),
]


@pytest.mark.parametrize(("passes", "predictive", "expected"), CASES)
def test_by_hand(passes: list[list[float]], predictive: float, expected: float) -> None:
    mc = np.array(passes)[:, None, :]
    assert predictive_entropy(mc).tolist() == pytest.approx([predictive], abs=1e-7)
    assert expected_entropy(mc).tolist() == pytest.approx([expected], abs=1e-7)
    assert mutual_information(mc).tolist() == pytest.approx([predictive - expected], abs=1e-7)


def test_class_deviation_by_hand() -> None:
    # 0.2, 0.4, 0.6: mean 0.4, variance (0.04 + 0 + 0.04) / 3.
    mc = np.array([[[0.2, 0.8]], [[0.4, 0.6]], [[0.6, 0.4]]])
    assert class_deviation(mc)[0].tolist() == pytest.approx([(0.08 / 3) ** 0.5] * 2)


def test_against_scipy() -> None:
    assert np.allclose(predictive_entropy(DRAWN), entropy(DRAWN.mean(axis=0), axis=1))
    assert np.allclose(expected_entropy(DRAWN), entropy(DRAWN, axis=2).mean(axis=0))


def test_mutual_information_is_the_mean_divergence_from_the_mean() -> None:
    # I = 1/M sum KL(p_m || mean p): another way to the same number.
    divergence = entropy(DRAWN, DRAWN.mean(axis=0, keepdims=True), axis=2).mean(axis=0)
    assert np.allclose(mutual_information(DRAWN), divergence)


def test_bounds_and_shapes() -> None:
    assert predictive_entropy(DRAWN).shape == mutual_information(DRAWN).shape == (50,)
    assert class_deviation(DRAWN).shape == (50, 7)
    assert (predictive_entropy(DRAWN) <= log(7)).all()
    # Equal passes in float32: rounding would make the difference negative.
    assert (mutual_information(np.repeat(DRAWN[:1], 20, axis=0).astype(np.float32)) >= 0).all()


# Two passes over two labels that are there or not by themselves. Label 0 as in CASES above (its probabilities are
# those of the first class), label 1 always at 1/2: it adds log 2 to both entropies and nothing to what is mutual.
@pytest.mark.parametrize(("passes", "predictive", "expected"), CASES)
def test_several_labels_by_hand(passes: list[list[float]], predictive: float, expected: float) -> None:
    mc = np.array([[[first, 0.5]] for first, _ in passes])
    assert predictive_entropy(mc, bernoulli=True).tolist() == pytest.approx([predictive + log(2)], abs=1e-7)
    assert expected_entropy(mc, bernoulli=True).tolist() == pytest.approx([expected + log(2)], abs=1e-7)
    assert mutual_information(mc, bernoulli=True).tolist() == pytest.approx([predictive - expected], abs=1e-7)


def test_several_labels_are_pairs_of_classes() -> None:
    # A label that is there or not is two classes: summed over labels, against the functions of one label.
    pairs = [np.stack([DRAWN[:, :, c], 1 - DRAWN[:, :, c]], axis=2) for c in range(7)]
    for function in (predictive_entropy, expected_entropy, mutual_information):
        expected = sum(function(pair) for pair in pairs)
        assert np.allclose(function(DRAWN, bernoulli=True), expected), function.__name__
    assert (predictive_entropy(DRAWN, bernoulli=True) <= 7 * log(2)).all()
