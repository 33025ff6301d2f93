"""The scores of a split: by hand, against torchmetrics, and on splits that lack a class or a label."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import balanced_accuracy_score, f1_score
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
    multilabel_average_precision,
    multilabel_exact_match,
    multilabel_f1_score,
    multilabel_hamming_distance,
)

from trainables.metrics import (
    AT_THRESHOLDS,
    confusion,
    decided,
    per_label,
    probabilities_of,
    scores,
    tuned_scores,
    tuned_thresholds,
)
from trainables.spec.metrics import LOWER_IS_BETTER, METRICS, MULTI_LABEL_METRICS, TUNED

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


# Three labels, four utterances. At 0.5 label 0 is given in rows 0 1 2 (0.5 itself is enough), label 1 in row 3 and
# label 2 in none; they are there in rows 0 1, in rows 1 3 and in row 2.
TRUTH = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
GIVEN = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.1], [0.6, 0.2, 0.3], [0.4, 0.7, 0.4]])


def several(samples: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Labels [samples, 5] float32, there from one time in two to one in twelve, and probabilities with skill."""
    random = np.random.default_rng(1)
    truth = (random.random((samples, 5)) < [0.5, 0.3, 0.25, 0.15, 0.08]).astype(np.float32)
    return truth, expit(1.5 * random.normal(size=truth.shape) + 2 * truth - 1.5)


def test_several_labels_by_hand() -> None:
    found = scores(TRUTH, GIVEN)
    f1 = (4 / 5, 2 / 3, 0)  # 2 TP / (there + given): 4 / (2 + 3), 2 / (2 + 1), 0 / (1 + 0)
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["weighted_f1"] == pytest.approx((2 * f1[0] + 2 * f1[1] + f1[2]) / 5)
    assert found["micro_f1"] == pytest.approx(2 * 3 / (5 + 4))
    # TPR 1, 1/2, 0; TNR 1/2 (row 3 of rows 2 3), 1, 1.
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 3 / 4 + 1 / 2) / 3)
    assert found["hamming"] == pytest.approx(3 / 12)  # rows 1 2 2 err in labels 1 0 2
    assert found["exact_match"] == pytest.approx(2 / 4)
    # Ranks of the rows with label 0: first and third (after 0.6); label 1: first and second; label 2: second.
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1 / 2) / 3)
    own = np.array([0.9, 0.9, 0.8, 0.5, 0.4, 0.9, 0.4, 0.8, 0.3, 0.6, 0.7, 0.6])
    assert found["nll"] == pytest.approx(-np.log(own).mean())
    assert found["brier"] == pytest.approx(np.square(1 - own).mean())
    # Every probability has a bin of 1/15 for itself: the error is the mean distance from the truth.
    assert found["ece"] == pytest.approx((1 - own).mean())


def test_several_labels_against_torchmetrics() -> None:
    truth, probabilities = several()
    target, given = torch.from_numpy(truth).long(), torch.from_numpy(probabilities)
    calibration = [
        binary_calibration_error(given[:, c].contiguous(), target[:, c], n_bins=15, norm="l1") for c in range(5)
    ]
    columns = zip(truth.T, (probabilities >= 0.5).T, strict=True)
    expected = {
        "weighted_f1": multilabel_f1_score(given, target, 5, average="weighted"),
        "macro_f1": multilabel_f1_score(given, target, 5, average="macro"),
        "micro_f1": multilabel_f1_score(given, target, 5, average="micro"),
        "balanced_accuracy": np.mean([balanced_accuracy_score(*column) for column in columns]),
        "map": multilabel_average_precision(given, target, 5, average="macro"),
        "hamming": multilabel_hamming_distance(given, target, 5),
        "exact_match": multilabel_exact_match(given, target, 5),
        "nll": torch.nn.functional.binary_cross_entropy(given, target.double()),
        "brier": (given - target).square().mean(),
        "ece": torch.stack(calibration).mean(),
    }
    found = scores(truth, probabilities)
    assert tuple(found) == MULTI_LABEL_METRICS
    assert set(expected) == set(MULTI_LABEL_METRICS)
    for name, wanted in expected.items():
        assert found[name] == pytest.approx(float(wanted), abs=1e-5), name


def test_f1_is_scikit_learns_at_any_thresholds() -> None:
    truth, probabilities = several()
    thresholds = np.array([0.5, 0.3, 0.45, 0.6, 0.2])
    found, predicted = scores(truth, probabilities, thresholds), probabilities >= thresholds
    for average in ("weighted", "macro", "micro"):
        assert found[f"{average}_f1"] == pytest.approx(f1_score(truth, predicted, average=average))
    each = np.repeat(thresholds[None], len(truth), axis=0)
    assert scores(truth, probabilities, each) == found
    each[::2] = 0.5
    halves = np.where(np.arange(len(truth))[:, None] % 2, predicted, probabilities >= 0.5)
    assert scores(truth, probabilities, each)["micro_f1"] == pytest.approx(f1_score(truth, halves, average="micro"))


@pytest.mark.filterwarnings("error")
def test_a_label_that_never_or_always_occurs() -> None:
    # Label 0 occurs in row 0 alone and is right; label 1 never, but is given once; label 2 always, given once.
    truth = np.array([[1, 0, 1], [0, 0, 1]])
    found = scores(truth, np.array([[0.9, 0.8, 0.7], [0.2, 0.1, 0.4]]))
    assert found["balanced_accuracy"] == 1  # of label 0 alone: the others lack a rate
    assert found["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)  # of labels 0 and 2
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 3))  # label 1's error counts here
    assert found["map"] == 1
    nothing = scores(np.zeros((2, 3)), np.full((2, 3), 0.1))
    assert [nothing[name] for name in ("weighted_f1", "macro_f1", "micro_f1", "balanced_accuracy", "map")] == [
        0
    ] * 5
    assert (nothing["hamming"], nothing["exact_match"]) == (0, 1)


def test_a_single_label_is_no_pair_of_classes() -> None:
    # scikit-learn would take one column for two classes and give the mean of both: (4/5 + 2/3) / 2.
    found = scores(TRUTH[:, :1], GIVEN[:, :1])
    assert found["macro_f1"] == found["weighted_f1"] == found["micro_f1"] == pytest.approx(4 / 5)


def test_a_label_score_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        scores(TRUTH, np.where(GIVEN == 0.9, np.nan, GIVEN))


# One label each: truth and scores, and the threshold. Worked by hand over every cut between neighbouring scores.
@pytest.mark.parametrize(
    ("truth", "given", "threshold"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], 0.25),  # parted between 0.2 and 0.3
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8], 0.5),  # 0.5 parts them as well as 0.45 would
        ([0, 0, 1, 1], [0.6, 0.7, 0.8, 0.9], 0.75),
        ([0, 1, 0, 1], [0.6, 0.7, 0.8, 0.9], 0.65),  # F1 from the top: 2/3, 1/2, 4/5, 2/3
        # From the top 2/3, 1/2, 2/5, 2/3: the first and last cuts are as good; 0.225 is nearer to 0.5 than 0.8.
        ([1, 0, 0, 1], [0.45, 0.55, 0.7, 0.9], 0.225),
        ([1, 1, 1, 0], [0.2, 0.2, 0.2, 0.2], 0.1),  # one score for all: always
        ([0, 0, 0, 0], [0.2, 0.7, 0.8, 0.9], 0.5),  # nothing to find
        ([1, 1], [0.0, 0.0], 0.0),
        ([0, 1], [0.25, np.nextafter(0.25, 1)], np.nextafter(0.25, 1)),  # no double lies between
    ],
)
def test_tuned_thresholds_by_hand(truth: list[int], given: list[float], threshold: float) -> None:
    found = tuned_thresholds(np.array(truth)[:, None], np.array(given)[:, None])
    assert found.tolist() == pytest.approx([threshold], abs=1e-15)


def test_tuned_thresholds_are_the_best_of_all() -> None:
    truth, probabilities = several(200)
    found = tuned_thresholds(truth, probabilities)
    assert found.dtype == np.float64
    for c, threshold in enumerate(found):
        of_all = probabilities[:, c] >= np.linspace(0, 1, 4001)[:, None]
        f1 = 2 * (of_all & (truth[:, c] > 0)).sum(axis=1) / (of_all.sum(axis=1) + truth[:, c].sum())
        assert f1_score(truth[:, c], probabilities[:, c] >= threshold) >= f1.max() - 1e-12
        assert threshold not in probabilities[:, c]
    tuned, plain = tuned_scores(truth, probabilities, found), scores(truth, probabilities)
    assert list(tuned) == [TUNED + name for name in AT_THRESHOLDS]
    assert tuned["tuned/macro_f1"] > plain["macro_f1"]
    other = scores(truth, probabilities, found)
    assert {name for name in plain if plain[name] != other[name]} == set(AT_THRESHOLDS)


def test_each_label_by_hand() -> None:
    first, second, third = per_label(TRUTH, GIVEN)
    assert first == {
        "support": 2, "predicted": 3, "tpr": 1, "tnr": 1 / 2, "balanced_accuracy": 3 / 4,
        "f1": pytest.approx(4 / 5), "ap": pytest.approx((1 + 2 / 3) / 2), "threshold": 0.5,
    }  # fmt: skip
    assert [second[name] for name in ("tpr", "tnr", "f1", "ap")] == pytest.approx([1 / 2, 1, 2 / 3, 1])
    assert [third[name] for name in ("predicted", "tpr", "f1", "ap")] == pytest.approx([0, 0, 0, 1 / 2])


def test_what_a_split_cannot_tell_of_a_label_is_none() -> None:
    never, always = per_label(np.array([[0, 1], [0, 1]]), np.array([[0.4, 0.4], [0.3, 0.6]]), np.array([0.7, 0.5]))
    assert never == {
        "support": 0, "predicted": 0, "tpr": None, "tnr": 1, "balanced_accuracy": None, "f1": None, "ap": None,
        "threshold": 0.7,
    }  # fmt: skip
    assert (always["tpr"], always["tnr"], always["balanced_accuracy"], always["ap"]) == (1 / 2, None, None, 1)
    differing = per_label(TRUTH, GIVEN, np.array([[0.5] * 3] * 3 + [[0.5, 0.8, 0.5]]))
    assert [one["threshold"] for one in differing] == [0.5, None, 0.5]
    assert [one["predicted"] for one in differing] == [3, 0, 0]


def test_probabilities_and_decisions() -> None:
    logits = np.array([[log(3), 0.0]], dtype=np.float32)
    assert probabilities_of(logits, multi_label=False)[0].tolist() == pytest.approx([3 / 4, 1 / 4])
    assert probabilities_of(logits, multi_label=True)[0].tolist() == pytest.approx([3 / 4, 1 / 2])
    assert probabilities_of(logits, multi_label=True).dtype == np.float64
    assert decided(np.array([[0.5, 0.49]])).tolist() == [[True, False]]
    assert decided(np.array([[0.5, 0.49]]), np.array([0.6, 0.4])).tolist() == [[False, True]]
