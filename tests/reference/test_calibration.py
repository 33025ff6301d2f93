"""Calibration errors, the risk-coverage area and temperature scaling: by hand, torchmetrics, and plain loops."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from trainables.uncertainty import aurc, ece, fit_temperature, mce


def drawn(samples: int = 700) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(5)
    labels = random.integers(7, size=samples)
    logits = 3 * (random.normal(size=(samples, 7)) + np.eye(7)[labels])
    return labels, logits, softmax(logits, axis=1)


def two(confidence: list[float]) -> np.ndarray:
    """Two-class rows that predict class 0 with these confidences."""
    return np.stack([np.array(confidence), 1 - np.array(confidence)], axis=1)


# Bins of width 1/5. Confidences 0.9, 0.9 (one right): gap |1/2 - 0.9| = 0.4; 0.7, 0.7 (both right): gap 0.3.
LABELS, PROBABILITIES = np.array([0, 1, 0, 0]), two([0.9, 0.9, 0.7, 0.7])


def test_by_hand() -> None:
    assert ece(LABELS, PROBABILITIES, bins=5) == pytest.approx(0.5 * 0.4 + 0.5 * 0.3)
    assert mce(LABELS, PROBABILITIES, bins=5) == pytest.approx(0.4)


def test_a_bin_holds_its_upper_edge() -> None:
    # Two bins: 0.5 (right) lies in (0, 0.5], 0.6 (wrong) in (0.5, 1]: (0.5 + 0.6) / 2; in one bin it would be 0.05.
    assert ece(np.array([0, 1]), two([0.5, 0.6]), bins=2) == pytest.approx(0.55)


def test_equal_mass_by_hand() -> None:
    # In order of confidence 0.6, 0.7, 0.8, 0.9, right 1, 0, 1, 1; two bins of two: |1/2 - 0.65| and |1 - 0.85|.
    labels, probabilities = np.array([0, 0, 1, 0]), two([0.9, 0.6, 0.7, 0.8])
    assert ece(labels, probabilities, bins=2, binning="mass") == pytest.approx(0.15)
    assert mce(labels, probabilities, bins=2, binning="mass") == pytest.approx(0.15)


@pytest.mark.parametrize("bins", [5, 15, 30])
def test_equal_width_against_torchmetrics(bins: int) -> None:
    labels, _, probabilities = drawn()
    given, target = torch.from_numpy(probabilities), torch.from_numpy(labels)
    for ours, norm in ((ece, "l1"), (mce, "max")):
        expected = multiclass_calibration_error(given, target, 7, n_bins=bins, norm=norm)
        assert ours(labels, probabilities, bins=bins) == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("samples", [700, 701, 9])
def test_equal_mass_against_a_loop(samples: int) -> None:
    labels, _, probabilities = drawn(samples)
    rows = sorted(zip(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, strict=True))
    total = sum(abs(sum(r - c for c, r in part)) for part in _parts(rows, 15))
    assert ece(labels, probabilities, binning="mass") == pytest.approx(total / samples, abs=1e-12)


def _parts(rows: list[tuple[float, bool]], bins: int) -> list[list[tuple[float, bool]]]:
    """The first (n mod bins) parts are one longer than the others."""
    short, longer = divmod(len(rows), bins)
    sizes = [short + (k < longer) for k in range(bins)]
    return [rows[sum(sizes[:k]) : sum(sizes[: k + 1])] for k in range(bins)]


@pytest.mark.parametrize(
    ("labels", "confidence", "expected"),
    [
        ([0, 0, 0], [0.9, 0.8, 0.7], 0.0),
        ([1, 1, 1], [0.9, 0.8, 0.7], 1.0),
        ([0, 0, 1], [0.9, 0.8, 0.7], (0 + 0 + 1 / 3) / 3),  # the one error comes last
        ([1, 0, 0], [0.9, 0.8, 0.7], (1 + 1 / 2 + 1 / 3) / 3),  # and first
        ([0, 1], [0.8, 0.8], 0.5),  # a tie: half an error each, whatever the order
        ([1, 0], [0.8, 0.8], 0.5),
    ],
)
def test_aurc_by_hand(labels: list[int], confidence: list[float], expected: float) -> None:
    assert aurc(np.array(labels), two(confidence)) == pytest.approx(expected)


def test_aurc_against_a_loop() -> None:
    labels, _, probabilities = drawn()
    order = np.argsort(-probabilities.max(axis=1))
    wrong = (probabilities.argmax(axis=1) != labels)[order]
    expected = sum(wrong[: k + 1].mean() for k in range(len(labels))) / len(labels)
    assert aurc(labels, probabilities) == pytest.approx(expected, rel=1e-12)


def test_temperature_by_hand() -> None:
    # Logits (2 log 3, 0), right three times in four: NLL is least where softmax(logits / T) = (3/4, 1/4),
    # that is 2 log 3 / T = log 3, so T = 2.
    logits = np.array([[2 * log(3), 0.0]] * 4)
    assert fit_temperature(logits, np.array([0, 0, 0, 1])) == pytest.approx(2.0, abs=1e-4)


def test_temperature_against_a_grid_and_its_effect() -> None:
    labels, logits, probabilities = drawn()

    def nll(temperature: float) -> float:
        own = softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels]
        return float(-np.log(own).mean())

    found = fit_temperature(logits, labels)
    grid = np.geomspace(0.05, 20, 2001)
    assert nll(found) <= min(nll(t) for t in grid) + 1e-9
    assert found == pytest.approx(2.9, abs=0.5)  # the logits were made three times too large
    assert ece(labels, softmax(logits / found, axis=1)) < 0.5 * ece(labels, probabilities)


def test_scaling_the_logits_scales_the_temperature() -> None:
    labels, logits, _ = drawn()
    assert fit_temperature(2 * logits, labels) == pytest.approx(2 * fit_temperature(logits, labels), rel=1e-4)


def test_logits_that_are_always_right_end_at_the_bound() -> None:
    assert fit_temperature(np.array([[1.0, 0.0]]), np.array([0])) == pytest.approx(0.05, rel=1e-2)


def sets(samples: int = 700) -> tuple[np.ndarray, np.ndarray]:
    """Labels [samples, 4] float32 of 0 and 1 and logits that are three times too large."""
    random = np.random.default_rng(6)
    logits = random.normal([0.0, -1.0, -1.0, -2.0], size=(samples, 4))
    return (random.random(logits.shape) < expit(logits)).astype(np.float32), 3 * logits


def test_several_labels_by_hand() -> None:
    # Bins of width 1/5. Label 0: 0.1 twice, there once: gap 0.4; 0.9 twice, there twice: gap 0.1. Label 1: 0.3 four
    # times, there once: gap 0.05. Mean and maximum over labels.
    labels = np.array([[1, 0], [0, 0], [1, 1], [1, 0]])
    probabilities = np.array([[0.1, 0.3], [0.1, 0.3], [0.9, 0.3], [0.9, 0.3]])
    assert ece(labels, probabilities, bins=5) == pytest.approx((0.25 + 0.05) / 2)
    assert mce(labels, probabilities, bins=5) == pytest.approx(0.4)


@pytest.mark.parametrize("bins", [5, 15])
def test_several_labels_against_torchmetrics(bins: int) -> None:
    labels, logits = sets()
    probabilities = expit(logits)
    given, target = torch.from_numpy(probabilities.T.copy()), torch.from_numpy(labels.T.copy()).long()
    for ours, norm, joined in ((ece, "l1", np.mean), (mce, "max", np.max)):
        each = [binary_calibration_error(given[c], target[c], n_bins=bins, norm=norm).item() for c in range(4)]
        assert ours(labels, probabilities, bins=bins) == pytest.approx(float(joined(each)), abs=1e-6)


def test_equal_mass_of_several_labels_against_a_loop() -> None:
    labels, logits = sets(701)
    probabilities, total = expit(logits), 0.0
    for truth, given in zip(labels.T, probabilities.T, strict=True):
        rows = sorted(zip(given.tolist(), (truth > 0).tolist(), strict=True))
        total += sum(abs(sum(r - c for c, r in part)) for part in _parts(rows, 15)) / 701
    assert ece(labels, probabilities, binning="mass") == pytest.approx(total / 4, abs=1e-12)


def test_temperature_of_several_labels_by_hand() -> None:
    # Logit 2 log 3, there three times in four: NLL is least where sigmoid(logit / T) = 3/4, so T = 2. A second
    # label with the opposite signs agrees.
    labels = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    logits = np.tile([2 * log(3), -2 * log(3)], (4, 1))
    assert fit_temperature(logits, labels) == pytest.approx(2.0, abs=1e-4)


def test_temperature_of_several_labels_and_its_effect() -> None:
    labels, logits = sets()
    found = fit_temperature(logits, labels)
    given, target = torch.from_numpy(logits), torch.from_numpy(labels).double()

    def nll(temperature: float) -> float:
        return float(torch.nn.functional.binary_cross_entropy_with_logits(given / temperature, target))

    assert nll(found) <= min(nll(t) for t in np.geomspace(0.05, 20, 1001)) + 1e-9
    assert found == pytest.approx(3.0, abs=0.5)
    assert ece(labels, expit(logits / found)) < 0.5 * ece(labels, expit(logits))
