"""Uncertainty and calibration (methods reference, sections 1.3 and 6.4). Entropies are in nats.

Low entropy is not calibration: print `ece` next to any entropy. On about 1000 utterances `ece` is biased
upwards; give its bootstrap interval (`trainables.statistics`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import entr, log_softmax

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]
Binning = Literal["width", "mass"]

BINS = 15
_TEMPERATURES = (0.05, 20.0)


def predictive_entropy(mc: Floats) -> Doubles:
    """Entropy of the mean over passes: [samples] within [0, log C].

    mc: probabilities [passes, samples, classes], here as in the three functions that follow.
    """
    return np.asarray(entr(mc.astype(np.float64).mean(axis=0)).sum(axis=1))


def expected_entropy(mc: Floats) -> Doubles:
    """Mean over passes of the entropy: [samples]. The part of the uncertainty that lies in the data."""
    return np.asarray(entr(mc.astype(np.float64)).sum(axis=2).mean(axis=0))


def mutual_information(mc: Floats) -> Doubles:
    """Predictive less expected entropy (BALD): [samples], at least 0. The part that lies in the model."""
    return np.maximum(predictive_entropy(mc) - expected_entropy(mc), 0.0)


def class_deviation(mc: Floats) -> Doubles:
    """Standard deviation over passes (divided by M) of each class's probability: [samples, classes]."""
    return np.asarray(mc.astype(np.float64).std(axis=0))


def ece(labels: Ints, probabilities: Floats, bins: int = BINS, binning: Binning = "width") -> float:
    """Expected calibration error: sum over bins of n_b / N |accuracy_b - confidence_b|, within [0, 1].

    labels [samples]; probabilities [samples, classes]. `width`: bins (k/B, (k+1)/B] of equal width;
    `mass`: bins of equal count (to within one), in order of confidence.
    """
    counts, gaps = _gaps(labels, probabilities, bins, binning)
    return float((counts * gaps).sum() / counts.sum())


def mce(labels: Ints, probabilities: Floats, bins: int = BINS, binning: Binning = "width") -> float:
    """Maximum calibration error: the largest |accuracy_b - confidence_b| of a bin that is not empty."""
    return float(_gaps(labels, probabilities, bins, binning)[1].max())


def aurc(labels: Ints, probabilities: Floats) -> float:
    """Area under the risk-coverage curve: the mean over k of the error rate of the k most confident samples.

    Within [0, 1], lower is better. Samples of equal confidence share their errors evenly, so that the value
    does not depend on their order.
    """
    confidence, correct = confidences(labels, probabilities)
    _, group, size = np.unique(-confidence, return_inverse=True, return_counts=True)
    errors = np.bincount(group, weights=1 - correct) / size
    risk = np.cumsum(np.repeat(errors, size)) / np.arange(1, len(labels) + 1)
    return float(risk.mean())


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """The T within [0.05, 20] for which softmax(logits / T) has the least NLL (Guo et al. 2017). Give it dev only.

    logits [samples, classes]; labels [samples]. The NLL is convex in 1 / T, so the minimum found is the
    only one; logits that are always right end at the lower bound.
    """
    scores, rows = logits.astype(np.float64), np.arange(len(labels))

    def nll(log_temperature: float) -> float:
        return float(-log_softmax(scores / np.exp(log_temperature), axis=1)[rows, labels].mean())

    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def confidences(labels: Ints, probabilities: Floats) -> tuple[Doubles, Doubles]:
    """The largest probability and whether it is the label's (1.0 or 0.0), each [samples]."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, (probabilities.argmax(axis=1) == labels).astype(np.float64)


def width_bin(confidence: Doubles, bins: int = BINS) -> npt.NDArray[np.int64]:
    """The bin (k/B, (k+1)/B] in which each confidence lies: int64 [samples] within [0, bins)."""
    return np.asarray(np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1), dtype=np.int64)


def _gaps(labels: Ints, probabilities: Floats, bins: int, binning: Binning) -> tuple[Doubles, Doubles]:
    """Count and |accuracy - confidence| of every bin that is not empty."""
    confidence, correct = confidences(labels, probabilities)
    if binning == "width":
        bin_of = width_bin(confidence, bins)
    else:
        bin_of = np.empty(len(confidence), dtype=np.int64)
        order = np.argsort(confidence, kind="stable")
        for k, members in enumerate(np.array_split(order, bins)):
            bin_of[members] = k
    counts = np.bincount(bin_of, minlength=bins).astype(np.float64)
    sums = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    filled = counts > 0
    return counts[filled], np.abs(sums[filled]) / counts[filled]
