"""Every metric of one label an utterance, as a function of how often each utterance counts.

counts [resamples, samples]; labels [samples]; probabilities [samples, classes], each row summing to 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.uncertainty import BINS, confidences, width_bin

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]


def resampled(counts: Doubles, labels: Ints, stack: Doubles, metric: str) -> Doubles:
    """The mean over seeds of the metric, one of METRICS, of each resample: [resamples].

    stack: the probabilities of every seed, [seeds, samples, classes].
    """
    if metric in _OF_SAMPLES:
        values = np.stack([_OF_SAMPLES[metric](labels, seed) for seed in stack], axis=1)
        return np.asarray((counts @ values).mean(axis=1) / counts.sum(axis=1))
    per_seed = [_OF_SUMS[metric](counts, labels, seed) for seed in stack]
    return np.asarray(np.mean(per_seed, axis=0))


def _log_likelihood_loss(labels: Ints, probabilities: Floats) -> Doubles:
    own = probabilities[np.arange(len(labels)), labels]
    return np.asarray(-np.log(np.clip(own, np.finfo(np.float64).eps, None)))


def _squared_error(labels: Ints, probabilities: Floats) -> Doubles:
    target = np.eye(probabilities.shape[1])[labels]
    return np.asarray(np.square(probabilities - target).sum(axis=1))


def _correct(labels: Ints, probabilities: Floats) -> Doubles:
    return confidences(labels, probabilities)[1]


def _confusions(counts: Doubles, labels: Ints, probabilities: Floats) -> Doubles:
    """Confusion matrices [resamples, classes, classes], rows the labels."""
    classes = probabilities.shape[1]
    cell = labels * classes + probabilities.argmax(axis=1)
    return np.asarray(counts @ np.eye(classes * classes)[cell]).reshape(-1, classes, classes)


def _f1(matrices: Doubles) -> tuple[Doubles, Doubles]:
    """F1 and support, each [resamples, classes]; F1 is 0 where neither label nor prediction names the class."""
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    support = matrices.sum(axis=2)
    named = support + matrices.sum(axis=1)
    return np.divide(2 * hits, named, out=np.zeros_like(named), where=named > 0), support


def _weighted_f1(counts: Doubles, labels: Ints, probabilities: Floats) -> Doubles:
    f1, support = _f1(_confusions(counts, labels, probabilities))
    return np.asarray((f1 * support).sum(axis=1) / support.sum(axis=1))


def _macro_f1(counts: Doubles, labels: Ints, probabilities: Floats) -> Doubles:
    f1, support = _f1(_confusions(counts, labels, probabilities))
    return np.asarray((f1 * (support > 0)).sum(axis=1) / (support > 0).sum(axis=1))


def _uar(counts: Doubles, labels: Ints, probabilities: Floats) -> Doubles:
    matrices = _confusions(counts, labels, probabilities)
    support = matrices.sum(axis=2)
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    recall = np.divide(hits, support, out=np.zeros_like(support), where=support > 0)
    return np.asarray(recall.sum(axis=1) / (support > 0).sum(axis=1))


def _ece(counts: Doubles, labels: Ints, probabilities: Floats) -> Doubles:
    confidence, correct = confidences(labels, probabilities)
    gaps = np.eye(BINS)[width_bin(confidence)] * (correct - confidence)[:, None]
    return np.asarray(np.abs(counts @ gaps).sum(axis=1) / counts.sum(axis=1))


_OF_SAMPLES: dict[str, Callable[[Ints, Floats], Doubles]] = {
    "accuracy": _correct,
    "nll": _log_likelihood_loss,
    "brier": _squared_error,
}
_OF_SUMS: dict[str, Callable[[Doubles, Ints, Floats], Doubles]] = {
    "weighted_f1": _weighted_f1,
    "macro_f1": _macro_f1,
    "uar": _uar,
    "ece": _ece,
}
