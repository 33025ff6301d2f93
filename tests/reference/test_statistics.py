"""The vectorised bootstrap against scikit-learn run resample by resample, and its statistical sense."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom

from trainables.metrics import scores
from trainables.spec.metrics import METRICS
from trainables.statistics import bootstrap_interval, paired_bootstrap, point


def model(labels: np.ndarray, skill: float, seeds: int, seed: int = 0, classes: int = 4) -> np.ndarray:
    """Probabilities [seeds, samples, classes] float32 that favour the label by `skill`."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(seeds, len(labels), classes)) + skill * np.eye(classes)[labels]
    unscaled = np.exp(logits)
    return np.asarray(unscaled / unscaled.sum(axis=2, keepdims=True), dtype=np.float32)


# Class 3 has three samples of 120: about one resample in twenty lacks it.
LABELS = np.repeat(np.arange(4), (70, 30, 17, 3))
GOOD, POOR = model(LABELS, 2.0, seeds=3, seed=1), model(LABELS, 1.0, seeds=2, seed=2)


@cache
def slow(which: str, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """scikit-learn on each resample of each seed: the mean over seeds of every metric, [resamples] each."""
    stack = {"good": GOOD, "poor": POOR}[which]
    random = np.random.default_rng(seed)
    drawn = random.integers(len(LABELS), size=(resamples, len(LABELS)))
    found = [[scores(LABELS[rows], of_seed[rows]) for of_seed in stack] for rows in drawn]
    return {name: np.array([np.mean([s[name] for s in of_seeds]) for of_seeds in found]) for name in METRICS}


@pytest.mark.parametrize("metric", METRICS)
def test_the_point_value_is_scikit_learns(metric: str) -> None:
    expected = np.mean([scores(LABELS, seed)[metric] for seed in GOOD])
    assert point(LABELS, GOOD, metric) == pytest.approx(expected, abs=1e-12)
    assert point(LABELS, GOOD[0], metric) == pytest.approx(scores(LABELS, GOOD[0])[metric], abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_interval_and_difference_are_those_of_the_slow_way(metric: str) -> None:
    good, poor = slow("good", 60, seed=4)[metric], slow("poor", 60, seed=4)[metric]
    interval = bootstrap_interval(LABELS, GOOD, metric, resamples=60, seed=4)
    assert interval == pytest.approx(tuple(np.quantile(good, [0.025, 0.975])), abs=1e-9)
    gain = paired_bootstrap(LABELS, GOOD, POOR, metric, resamples=60, seed=4)
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(good - poor, [0.025, 0.975])), abs=1e-9)
    below, above = (good - poor <= 0).sum(), (good - poor >= 0).sum()
    assert gain.p_value == pytest.approx(min(1, 2 * (min(below, above) + 1) / 61))
    assert gain.difference == pytest.approx(point(LABELS, GOOD, metric) - point(LABELS, POOR, metric))


def test_the_interval_of_an_accuracy_is_the_binomials() -> None:
    # 200 utterances, 140 right: a resampled accuracy is Binomial(200, 0.7) / 200, known in closed form.
    labels = np.zeros(200, dtype=np.int64)
    right = np.eye(2)[np.repeat([0, 1], (140, 60))]
    low, high = bootstrap_interval(labels, right, "accuracy", resamples=20_000)
    exact = binom.ppf([0.025, 0.975], 200, 0.7) / 200
    assert (low, high) == pytest.approx(tuple(exact), abs=0.0051)  # one utterance


def test_the_level_widens_the_interval() -> None:
    narrow = bootstrap_interval(LABELS, GOOD, level=0.5)
    wide = bootstrap_interval(LABELS, GOOD, level=0.99)
    assert wide[0] < narrow[0] < point(LABELS, GOOD) < narrow[1] < wide[1]


def test_pairing_is_by_utterance() -> None:
    # b differs from a in one utterance that a has right, so every resampled gain is at least 0 and at most a few
    # hundredths, though each accuracy alone varies much more.
    a = np.eye(4)[np.where(np.arange(120) % 3, LABELS, (LABELS + 1) % 4)]
    b = a.copy()
    b[1] = np.eye(4)[(LABELS[1] + 1) % 4]
    gain = paired_bootstrap(LABELS, a, b, "accuracy")
    low, high = bootstrap_interval(LABELS, a, "accuracy")
    assert gain.difference == pytest.approx(1 / 120)
    assert gain.low == 0
    assert gain.high - gain.low < (high - low) / 3
    # A resample lacks that utterance with probability (1 - 1/120)^120 = 0.366, and then the gain is 0.
    assert gain.p_value == pytest.approx(2 * (1 - 1 / 120) ** 120, abs=0.06)


def test_the_same_model_gains_nothing() -> None:
    gain = paired_bootstrap(LABELS, GOOD, GOOD)
    assert (gain.difference, gain.low, gain.high, gain.p_value) == (0, 0, 0, 1)


def test_sides_swap_with_the_sign() -> None:
    forth, back = paired_bootstrap(LABELS, GOOD, POOR), paired_bootstrap(LABELS, POOR, GOOD)
    assert [forth.difference, forth.low, forth.high] == pytest.approx([-back.difference, -back.high, -back.low])
    assert forth.p_value == back.p_value
    assert forth.p_value < 0.05


def test_the_seed_decides() -> None:
    assert bootstrap_interval(LABELS, GOOD, seed=3) == bootstrap_interval(LABELS, GOOD, seed=3)
    assert bootstrap_interval(LABELS, GOOD, seed=3) != bootstrap_interval(LABELS, GOOD, seed=4)


def test_parts_of_the_resamples_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paired_bootstrap(LABELS, GOOD, POOR, resamples=50)
    monkeypatch.setattr("trainables.statistics._CHUNK", 7 * len(LABELS))
    assert paired_bootstrap(LABELS, GOOD, POOR, resamples=50) == whole


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(ValueError, match=r"metric 'f1': metrics are \['weighted_f1'"):
        bootstrap_interval(LABELS, GOOD, "f1")
