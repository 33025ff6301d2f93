"""The scores of a split: by hand, against torchmetrics, and on splits that lack a class."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
)

from trainables.metrics import confusion, scores
from trainables.spec.metrics import LOWER_IS_BETTER, METRICS

MELD_TEST = (1256, 281, 50, 208, 402, 68, 345)


def one_hot(predicted: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.float32)[predicted]


def drawn(samples: int = 800, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.integers(classes, size=samples)
    logits = random.normal(size=(samples, classes)) + 1.5 * np.eye(classes)[labels]
    return labels, (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def test_by_hand() -> None:
    # Labels 0 0 0 1, predictions 0 0 1 1. Class 0: precision 1, recall 2/3, F1 4/5; class 1: 1/2, 1, F1 2/3.
    found = scores(np.array([0, 0, 0, 1]), one_hot([0, 0, 1, 1], 2))
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["uar"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found["weighted_f1"] == pytest.approx(0.75 * 4 / 5 + 0.25 * 2 / 3)
    assert found["ece"] == pytest.approx(1 / 4)  # always certain, right three times in four
    assert found["brier"] == pytest.approx(2 / 4)  # one sample of four at distance 1 + 1


def test_probabilities_by_hand() -> None:
    # Label 0 at (3/4, 1/4): NLL log 4/3, Brier 1/16 + 1/16. Label 1 at (1/2, 1/2): log 2, Brier 1/2.
    found = scores(np.array([0, 1]), np.array([[0.75, 0.25], [0.5, 0.5]]))
    assert found["nll"] == pytest.approx((log(4 / 3) + log(2)) / 2)
    assert found["brier"] == pytest.approx((1 / 8 + 1 / 2) / 2)


def test_the_majority_floor_of_meld() -> None:
    # Corpora reference, section 7: accuracy 48.12, UA 14.29, macro-F1 9.28, weighted F1 31.27.
    labels = np.repeat(np.arange(7), MELD_TEST)
    found = scores(labels, one_hot([0] * len(labels), 7))
    percent = [round(100 * found[name], 2) for name in ("accuracy", "uar", "macro_f1", "weighted_f1")]
    assert percent == [48.12, 14.29, 9.28, 31.27]


def test_against_torchmetrics() -> None:
    labels, probabilities = drawn()
    target, given = torch.from_numpy(labels), torch.from_numpy(probabilities)
    expected = {
        "weighted_f1": multiclass_f1_score(given, target, 7, average="weighted"),
        "macro_f1": multiclass_f1_score(given, target, 7, average="macro"),
        "accuracy": multiclass_accuracy(given, target, 7, average="micro"),
        "uar": multiclass_accuracy(given, target, 7, average="macro"),
        "nll": torch.nn.functional.nll_loss(given.log(), target),
        "brier": (given - torch.eye(7)[target]).square().sum(dim=1).mean(),
        "ece": multiclass_calibration_error(given, target, 7, n_bins=15, norm="l1"),
    }
    found = scores(labels, probabilities)
    assert tuple(found) == METRICS
    assert set(expected) == set(METRICS)
    for name, wanted in expected.items():
        assert found[name] == pytest.approx(float(wanted), abs=1e-5), name


def test_a_split_that_lacks_a_class() -> None:
    # Of classes 0 1 2 the split has 0 and 1; one sample of class 1 is taken for 2. Recalls 1 and 1/2;
    # F1 1 and 2/3. Class 2 has no recall and no say in the means, and costs class 1 its hit.
    found = scores(np.array([0, 1, 1]), one_hot([0, 1, 2], 3))
    assert found["uar"] == pytest.approx((1 + 1 / 2) / 2)
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["weighted_f1"] == pytest.approx(1 / 3 + 2 / 3 * 2 / 3)
    assert found["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.filterwarnings("error")
def test_a_perfect_split_of_one_class_and_float32_rows_pass_without_a_warning() -> None:
    found = scores(np.array([2, 2]), one_hot([2, 2], 7))
    assert {name: found[name] for name in METRICS} == {
        name: pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0, abs=1e-12) for name in METRICS
    }
    labels, probabilities = drawn()
    scores(labels, probabilities * np.float32(1.000001))


def test_a_probability_of_zero_costs_much_but_not_infinity() -> None:
    assert 30 < scores(np.array([0, 1]), one_hot([1, 1], 2))["nll"] * 2 < 40  # -log of the smallest double step


def test_a_score_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        scores(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 0.5]]))


def test_confusion_has_rows_for_labels_and_keeps_absent_classes() -> None:
    assert confusion(np.array([0, 0, 2]), np.array([0, 2, 2]), 4).tolist() == [
        [1, 0, 1, 0],
        [0, 0, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]
