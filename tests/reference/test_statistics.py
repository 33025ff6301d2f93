"""The vectorised bootstrap against scikit-learn run resample by resample, and its statistical sense."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binom

from trainables.metrics import AT_THRESHOLDS, scores, tuned_scores, tuned_thresholds
from trainables.spec.metrics import METRICS, MULTI_LABEL_METRICS, TUNED
from trainables.statistics import against, bootstrap_interval, paired_bootstrap, point


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


@pytest.mark.parametrize("metric", ["weighted_f1", "ece"])
def test_several_against_one_are_each_what_two_are(metric: str) -> None:
    others = [POOR, GOOD[:1], GOOD]
    found = against(LABELS, GOOD, others, metric, resamples=200)
    for one, other in zip(found, others, strict=True):
        assert (one.low, one.high) == bootstrap_interval(LABELS, other, metric, resamples=200)
        assert one.change == paired_bootstrap(LABELS, other, GOOD, metric, resamples=200)
    assert found[2].change.difference == 0 and found[0].change.difference != 0


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


def labelled(skill: float, seeds: int, seed: int) -> np.ndarray:
    """Probabilities [seeds, samples, labels] of one decimal, so that many are equal, and some equal a threshold."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(seeds, *SETS.shape)) + skill * (2 * SETS - 1)
    return np.asarray(np.round(expit(logits), 1))


# Label 3 occurs in two utterances of 90 and label 4 in all but two: one resample in four lacks the one, or any
# utterance without the other.
SETS = np.stack([np.arange(90) % k < n for k, n in ((2, 1), (3, 1), (10, 2), (45, 1), (45, 44))], axis=1)
SETS = SETS.astype(np.float32)
MANY, FEW = labelled(1.0, seeds=3, seed=1), labelled(0.4, seeds=2, seed=2)
LIMITS, OTHERS = (np.stack([tuned_thresholds(SETS, seed) for seed in stack]) for stack in (MANY, FEW))
SEVERAL = (*MULTI_LABEL_METRICS, *(TUNED + name for name in AT_THRESHOLDS))


def of_several(labels: np.ndarray, probabilities: np.ndarray, limits: np.ndarray) -> dict[str, float]:
    return scores(labels, probabilities) | tuned_scores(labels, probabilities, limits)


@cache
def slow_several(which: str, resamples: int, seed: int) -> dict[str, np.ndarray]:
    """The scores on each resample of each seed at its own thresholds: the mean over seeds, [resamples] each."""
    stack, limits = {"many": (MANY, LIMITS), "few": (FEW, OTHERS)}[which]
    drawn = np.random.default_rng(seed).integers(len(SETS), size=(resamples, len(SETS)))
    pairs = list(zip(stack, limits, strict=True))
    found = [[of_several(SETS[rows], one[rows], limit) for one, limit in pairs] for rows in drawn]
    return {name: np.array([np.mean([s[name] for s in of_seeds]) for of_seeds in found]) for name in SEVERAL}


def test_resamples_lack_labels() -> None:
    drawn = SETS[np.random.default_rng(4).integers(len(SETS), size=(60, len(SETS)))]
    there = drawn.sum(axis=1)
    lacking = ((there == 0) | (there == len(SETS))).any(axis=1)
    assert 5 < lacking.sum() < 30


@pytest.mark.parametrize("metric", SEVERAL)
def test_the_point_value_of_several_labels(metric: str) -> None:
    each = [of_several(SETS, one, limit)[metric] for one, limit in zip(MANY, LIMITS, strict=True)]
    assert point(SETS, MANY, metric, thresholds=LIMITS) == pytest.approx(np.mean(each), abs=1e-12)
    assert point(SETS, MANY[0], metric, thresholds=LIMITS[0]) == pytest.approx(each[0], abs=1e-12)


@pytest.mark.parametrize("metric", SEVERAL)
def test_several_labels_are_those_of_the_slow_way(metric: str) -> None:
    many, few = slow_several("many", 60, seed=4)[metric], slow_several("few", 60, seed=4)[metric]
    interval = bootstrap_interval(SETS, MANY, metric, resamples=60, seed=4, thresholds=LIMITS)
    assert interval == pytest.approx(tuple(np.quantile(many, [0.025, 0.975])), abs=1e-9)
    gain = paired_bootstrap(SETS, MANY, FEW, metric, resamples=60, seed=4, thresholds=(LIMITS, OTHERS))
    assert (gain.low, gain.high) == pytest.approx(tuple(np.quantile(many - few, [0.025, 0.975])), abs=1e-9)
    assert gain.difference == pytest.approx(
        point(SETS, MANY, metric, thresholds=LIMITS) - point(SETS, FEW, metric, thresholds=OTHERS)
    )


def test_utterances_may_have_thresholds_of_their_own() -> None:
    # Two folds end to end, each with the thresholds of its own models: [seeds, samples, labels].
    own = np.where(np.arange(len(SETS))[:, None] < 45, LIMITS[:, None], OTHERS[0])
    expected = [tuned_scores(SETS, one, limit)["tuned/macro_f1"] for one, limit in zip(MANY, own, strict=True)]
    assert point(SETS, MANY, "tuned/macro_f1", thresholds=own) == pytest.approx(np.mean(expected), abs=1e-12)


def test_thresholds_bear_on_tuned_metrics_alone() -> None:
    assert bootstrap_interval(SETS, MANY, "macro_f1", thresholds=LIMITS) == bootstrap_interval(
        SETS, MANY, "macro_f1"
    )
    tuned = bootstrap_interval(SETS, MANY, "tuned/macro_f1", thresholds=LIMITS)
    assert tuned != bootstrap_interval(SETS, MANY, "macro_f1")


@pytest.mark.parametrize("metric", ["map", "tuned/exact_match"])
def test_parts_of_the_resamples_do_not_change_several_labels(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = paired_bootstrap(SETS, MANY, FEW, metric, resamples=50, thresholds=(LIMITS, OTHERS))
    monkeypatch.setattr("trainables.statistics._CHUNK", 7 * len(SETS))
    assert paired_bootstrap(SETS, MANY, FEW, metric, resamples=50, thresholds=(LIMITS, OTHERS)) == whole


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("accuracy", r"metric 'accuracy': metrics are \['weighted_f1'.*'tuned/exact_match'\]"),
        ("tuned/map", "metric 'tuned/map': metrics are"),
        ("tuned/macro_f1", "it needs the thresholds fitted on dev"),
    ],
)
def test_a_metric_that_several_labels_lack_is_named(metric: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(SETS, MANY, metric)
