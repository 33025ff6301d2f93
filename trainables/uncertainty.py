"""Uncertainty and calibration (methods reference, sections 1.3 and 6.4). Entropies are in nats.

With one label an utterance, labels are [samples] and probabilities a softmax; with several, labels are
[samples, labels] of 0 and 1 and each probability is one label's own. `ece` is then the mean over labels, and `mce`
the maximum, of |share of samples with the label - mean probability of it| in bins of that probability. `aurc` is of
one label alone.

Low entropy is not calibration: print `ece` next to any entropy. On about 1000 utterances `ece` is biased
upwards; give its bootstrap interval (`trainables.statistics`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import entr, log_expit, log_softmax

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
Binning = Literal["width", "mass"]

BINS = 15
_TEMPERATURES = (0.05, 20.0)


def predictive_entropy(mc: Floats, *, bernoulli: bool = False) -> Doubles:
    """Entropy of the mean over passes: [samples] within [0, log C], or [0, C log 2] of `bernoulli`.

    mc: probabilities [passes, samples, classes], here as in the three functions that follow. `bernoulli`: each
    class is a label that is there or not by itself, and entropies are summed over the labels.
    """
    return _entropy(mc.astype(np.float64).mean(axis=0), bernoulli)


def expected_entropy(mc: Floats, *, bernoulli: bool = False) -> Doubles:
    """Mean over passes of the entropy: [samples]. The part of the uncertainty that lies in the data."""
    return np.asarray(_entropy(mc.astype(np.float64), bernoulli).mean(axis=0))


def mutual_information(mc: Floats, *, bernoulli: bool = False) -> Doubles:
    """Predictive less expected entropy (BALD): [samples], at least 0. The part that lies in the model.

    Of `bernoulli` it is the sum over labels of each label's own, which says nothing of how labels go together.
    """
    return np.maximum(predictive_entropy(mc, bernoulli=bernoulli) - expected_entropy(mc, bernoulli=bernoulli), 0.0)


def _entropy(probabilities: Doubles, bernoulli: bool) -> Doubles:
    found = entr(probabilities) + entr(1 - probabilities) if bernoulli else entr(probabilities)
    return np.asarray(found.sum(axis=-1))


def class_deviation(mc: Floats) -> Doubles:
    """Standard deviation over passes (divided by M) of each class's probability: [samples, classes]."""
    return np.asarray(mc.astype(np.float64).std(axis=0))


def ece(labels: Labels, probabilities: Floats, bins: int = BINS, binning: Binning = "width") -> float:
    """Expected calibration error: sum over bins of n_b / N |accuracy_b - confidence_b|, within [0, 1].

    labels [samples] or [samples, labels]; probabilities [samples, classes]. `width`: bins (k/B, (k+1)/B] of equal
    width; `mass`: bins of equal count (to within one), in order of confidence.
    """
    found = [_gaps(*pair, bins, binning) for pair in _calibrations(labels, probabilities)]
    return float(np.mean([(counts * gaps).sum() / counts.sum() for counts, gaps in found]))


def mce(labels: Labels, probabilities: Floats, bins: int = BINS, binning: Binning = "width") -> float:
    """Maximum calibration error: the largest |accuracy_b - confidence_b| of a bin that is not empty."""
    return max(float(_gaps(*pair, bins, binning)[1].max()) for pair in _calibrations(labels, probabilities))


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


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """The T within [0.05, 20] for which softmax(logits / T) has the least NLL (Guo et al. 2017). Give it dev only.

    logits [samples, classes]; labels [samples], or [samples, labels], for which one T serves every label's
    sigmoid(logit / T). The NLL is convex in 1 / T, so the minimum found is the only one; logits that are always
    right end at the lower bound.
    """
    scores = logits.astype(np.float64)
    rows, signs = np.arange(len(labels)), np.where(labels > 0.5, 1.0, -1.0)

    def nll(log_temperature: float) -> float:
        cooled = scores / np.exp(log_temperature)
        if labels.ndim == 2:
            return float(-log_expit(signs * cooled).mean())
        return float(-log_softmax(cooled, axis=1)[rows, labels].mean())

    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(nll, bounds=(low, high), method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def confidences(labels: Ints, probabilities: Floats) -> tuple[Doubles, Doubles]:
    """The largest probability and whether it is the label's (1.0 or 0.0), each [samples]."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, (probabilities.argmax(axis=1) == labels).astype(np.float64)


def _calibrations(labels: Labels, probabilities: Floats) -> list[tuple[Doubles, Doubles]]:
    """Confidence and outcome, each [samples]: of the chosen class, or of every label."""
    if labels.ndim == 1:
        return [confidences(labels, probabilities)]
    return list(zip(probabilities.T.astype(np.float64), labels.T.astype(np.float64), strict=True))


def width_bin(confidence: Doubles, bins: int = BINS) -> npt.NDArray[np.int64]:
    """The bin (k/B, (k+1)/B] in which each confidence lies: int64 [samples] within [0, bins)."""
    return np.asarray(np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1), dtype=np.int64)


def _gaps(confidence: Doubles, correct: Doubles, bins: int, binning: Binning) -> tuple[Doubles, Doubles]:
    """Count and |accuracy - confidence| of every bin that is not empty."""
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
