"""The scores of a split, by scikit-learn where it has them (corpora reference, section 7).

With several labels, a mean over labels is over those for which the split can tell: `macro_f1` and `map` over labels
that occur, `balanced_accuracy` over labels that occur and are absent somewhere; without any such label it is 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, softmax
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from trainables.spec.metrics import METRICS, MULTI_LABEL_METRICS, TUNED
from trainables.uncertainty import ece

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[Any]

THRESHOLD = 0.5
AT_THRESHOLDS = ("weighted_f1", "macro_f1", "micro_f1", "balanced_accuracy", "hamming", "exact_match")
"""What thresholds bear on, of MULTI_LABEL_METRICS; the others read the probabilities alone."""


def scores(labels: Labels, probabilities: Floats, thresholds: Floats | None = None) -> dict[str, float]:
    """Every metric of METRICS, or of MULTI_LABEL_METRICS where `labels` has two axes.

    One label: labels [samples] within [0, C); probabilities [samples, C], each row summing to 1. Fractions, not per
    cent; nll in nats; brier = mean over samples of the sum over classes (0 to 2); ece over 15 bins of equal width.
    macro_f1 and uar (the SER literature's UA) are means over the classes that occur in `labels`: a split that lacks
    a class has no recall of it.

    Several: labels [samples, C] of 0 and 1; probabilities [samples, C], each label's own; thresholds [C], or
    [samples, C] where they differ, None for 0.5. hamming is the share of wrong labels and exact_match the share of
    samples without any; nll, brier (0 to 1) and ece are means over labels of each label's binary one. `thresholds`
    has no meaning with one label. ValueError when a probability is not finite.
    """
    if labels.ndim == 2:
        return _several(labels, probabilities, thresholds)
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


def _several(labels: Labels, probabilities: Floats, thresholds: Floats | None) -> dict[str, float]:
    """F1, Hamming loss and exact match are worked out here: scikit-learn takes a single label for two classes."""
    truth, exact = labels > 0.5, probabilities.astype(np.float64)
    predicted = decided(exact, thresholds)
    support, named, hits = _counts(truth, predicted)
    f1 = np.divide(2 * hits, named, out=np.zeros(len(hits)), where=named > 0)
    precisions = [average_precision_score(truth[:, c], exact[:, c]) for c in np.flatnonzero(support)]
    found = {
        "weighted_f1": (f1 * support).sum() / max(1, support.sum()),
        "macro_f1": f1[support > 0].mean() if support.any() else 0.0,
        "micro_f1": 2 * hits.sum() / max(1, named.sum()),
        "balanced_accuracy": _known_mean(np.mean(_rates(truth, predicted), axis=0)),
        "map": _known_mean(np.array(precisions)),
        "hamming": (truth != predicted).mean(),
        "exact_match": (truth == predicted).all(axis=1).mean(),
        "nll": log_loss(truth.ravel(), exact.ravel(), labels=[False, True]),
        "brier": brier_score_loss(truth.ravel(), exact.ravel()),
        "ece": ece(truth, exact),
    }
    return {name: float(found[name]) for name in MULTI_LABEL_METRICS}


def tuned_scores(labels: Labels, probabilities: Floats, thresholds: Floats) -> dict[str, float]:
    """TUNED + name -> the scores that thresholds bear on, at these; shapes as in `scores` of several labels."""
    found = scores(labels, probabilities, thresholds)
    return {TUNED + name: found[name] for name in AT_THRESHOLDS}


def decided(probabilities: Floats, thresholds: Floats | None = None) -> Bools:
    """Whether each label is given: its probability is at least its threshold. Shapes as in `scores`."""
    return np.asarray(probabilities >= (THRESHOLD if thresholds is None else thresholds))


def tuned_thresholds(labels: Labels, probabilities: Floats) -> Doubles:
    """float64 [C] within [0, 1]: for each label by itself the threshold of the best F1. Give it dev only.

    labels [samples, C] of 0 and 1; probabilities [samples, C]. All thresholds between two neighbouring scores give
    the same F1, so the middle between them is taken (between the lowest score and 0, to give the label always). Of
    equal F1 it is the one nearest to 0.5, and 0.5 itself where that is as good, as for a label without a positive.
    """
    exact = probabilities.astype(np.float64)
    return np.array([_tuned(labels[:, c] > 0.5, exact[:, c]) for c in range(labels.shape[1])])


def _tuned(truth: Bools, probabilities: Doubles) -> float:
    if not truth.any():
        return THRESHOLD
    levels, group = np.unique(probabilities, return_inverse=True)
    # Of the samples at each level or above it: those with the label, and all.
    hits = np.bincount(group, weights=truth)[::-1].cumsum()[::-1]
    given = np.bincount(group)[::-1].cumsum()[::-1]
    f1 = 2 * hits / (given + truth.sum())
    below = np.concatenate([[0.0], levels[:-1]])
    middle = (below + levels) / 2
    # Between neighbouring doubles there is no middle.
    found = np.where(
        (below < THRESHOLD) & (levels >= THRESHOLD), THRESHOLD, np.where(middle > below, middle, levels)
    )
    best = found[f1 == f1.max()]
    return float(best[np.abs(best - THRESHOLD).argmin()])


def per_label(
    labels: Labels, probabilities: Floats, thresholds: Floats | None = None
) -> list[dict[str, float | None]]:
    """One dict a label, in order: support and predicted (samples), tpr, tnr, balanced_accuracy, f1, ap, threshold.

    Shapes as in `scores` of several labels. None: tpr and ap of a label without a positive, tnr of one without a
    negative, balanced_accuracy of either, f1 of one that is neither there nor given, and a threshold that differs
    between samples.
    """
    truth, exact = labels > 0.5, probabilities.astype(np.float64)
    predicted = decided(exact, thresholds)
    limits = np.broadcast_to(THRESHOLD if thresholds is None else thresholds, truth.shape)
    (support, named, hits), (tpr, tnr) = _counts(truth, predicted), _rates(truth, predicted)
    return [
        {
            "support": int(support[c]),
            "predicted": int(named[c] - support[c]),
            "tpr": _known(tpr[c]),
            "tnr": _known(tnr[c]),
            "balanced_accuracy": _known((tpr[c] + tnr[c]) / 2),
            "f1": float(2 * hits[c] / named[c]) if named[c] else None,
            "ap": float(average_precision_score(truth[:, c], exact[:, c])) if support[c] else None,
            "threshold": float(limits[0, c]) if (limits[:, c] == limits[0, c]).all() else None,
        }
        for c in range(truth.shape[1])
    ]


def _counts(truth: Bools, predicted: Bools) -> tuple[Ints, Ints, Ints]:
    """[C] each: samples with the label, those plus the ones that it is given to, and those of which both is so."""
    support, hits = truth.sum(axis=0), (truth & predicted).sum(axis=0)
    return support, support + predicted.sum(axis=0), hits


def _rates(truth: Bools, predicted: Bools) -> tuple[Doubles, Doubles]:
    """TPR and TNR [C]; NaN of a label that never, or always, occurs."""
    with np.errstate(invalid="ignore"):
        tpr = (truth & predicted).sum(axis=0) / truth.sum(axis=0)
        return tpr, (~truth & ~predicted).sum(axis=0) / (~truth).sum(axis=0)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _known_mean(values: Doubles) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0


def probabilities_of(logits: Floats, multi_label: bool) -> Doubles:
    """[..., classes]: a softmax over the classes, or a sigmoid of each where there may be several labels."""
    exact = logits.astype(np.float64)
    return np.asarray(expit(exact) if multi_label else softmax(exact, axis=-1))


def normalised(probabilities: Floats) -> Doubles:
    """float64 rows that sum to 1: those of a float32 softmax do only to 1e-7, at which scikit-learn warns."""
    exact = probabilities.astype(np.float64)
    return np.asarray(exact / exact.sum(axis=-1, keepdims=True))


def confusion(labels: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Counts [classes, classes]: rows are the labels, columns the predictions, of all classes, absent ones too."""
    return np.asarray(confusion_matrix(labels, predicted, labels=list(range(classes))), dtype=np.int64)
