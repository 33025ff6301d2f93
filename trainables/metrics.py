"""The scores of a split, by scikit-learn where it has them (corpora reference, section 7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from trainables.spec.metrics import METRICS
from trainables.uncertainty import ece

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


def scores(labels: Ints, probabilities: Floats) -> dict[str, float]:
    """Every metric of METRICS. labels [samples] within [0, C); probabilities [samples, C], each row summing to 1.

    Fractions, not per cent; nll in nats; brier = mean over samples of the sum over classes (0 to 2); ece over 15
    bins of equal width. macro_f1 and uar (the SER literature's UA) are means over the classes that occur in
    `labels`: a split that lacks a class has no recall of it. ValueError when a probability is not finite.
    """
    classes = list(range(probabilities.shape[1]))
    exact = normalised(probabilities)
    predicted = exact.argmax(axis=1)
    present = np.unique(labels)
    found = {
        "weighted_f1": f1_score(labels, predicted, labels=present, average="weighted", zero_division=0),
        "macro_f1": f1_score(labels, predicted, labels=present, average="macro", zero_division=0),
        "accuracy": accuracy_score(labels, predicted),
        "uar": recall_score(labels, predicted, labels=present, average="macro", zero_division=0),
        "nll": log_loss(labels, exact, labels=classes),
        "brier": brier_score_loss(labels, exact, labels=classes, scale_by_half=False),
        "ece": ece(labels, exact),
    }
    return {name: float(found[name]) for name in METRICS}


def probabilities_of(logits: Floats, multi_label: bool) -> npt.NDArray[np.float64]:
    """[..., classes]: a softmax over the classes, or a sigmoid of each where there may be several labels."""
    exact = logits.astype(np.float64)
    return np.asarray(expit(exact) if multi_label else softmax(exact, axis=-1))


def normalised(probabilities: Floats) -> npt.NDArray[np.float64]:
    """float64 rows that sum to 1: those of a float32 softmax do only to 1e-7, at which scikit-learn warns."""
    exact = probabilities.astype(np.float64)
    return np.asarray(exact / exact.sum(axis=-1, keepdims=True))


def confusion(labels: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Counts [classes, classes]: rows are the labels, columns the predictions, of all classes, absent ones too."""
    return np.asarray(confusion_matrix(labels, predicted, labels=list(range(classes))), dtype=np.int64)
