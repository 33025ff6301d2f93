"""Every metric of several labels an utterance, as a function of how often each utterance counts.

counts [resamples, samples]; labels bool [samples, labels]; probabilities [samples, labels]; `given`, bool [samples,
labels], is what is given at the thresholds. A label that a resample lacks is treated as `metrics.scores` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.metrics import decided
from trainables.uncertainty import BINS, width_bin

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]
Doubles = npt.NDArray[np.float64]


def resampled(counts: Doubles, labels: Bools, stack: Doubles, metric: str, thresholds: Floats) -> Doubles:
    """The mean over seeds of the metric, one of MULTI_LABEL_METRICS, of each resample: [resamples].

    stack: the probabilities of every seed, [seeds, samples, labels]; `thresholds` broadcast to that.
    """
    given = decided(stack, thresholds)
    if metric in _OF_SAMPLES:
        values = np.stack([_OF_SAMPLES[metric](labels, *seed) for seed in zip(stack, given, strict=True)], axis=1)
        return np.asarray((counts @ values).mean(axis=1) / counts.sum(axis=1))
    if metric in _OF_PROBABILITIES:
        return np.asarray(np.mean([_OF_PROBABILITIES[metric](counts, labels, seed) for seed in stack], axis=0))
    return np.asarray(np.mean([_OF_COUNTS[metric](*_sums(counts, labels, seed)) for seed in given], axis=0))


def _sums(counts: Doubles, labels: Bools, given: Bools) -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """How often each label is there, is given, and both [resamples, labels], of how many [resamples, 1]."""
    sums = counts @ np.concatenate([labels, given, labels & given], axis=1).astype(np.float64)
    support, named, hits = np.split(sums, 3, axis=1)
    return support, named, hits, counts.sum(axis=1, keepdims=True)


def _ratio(numerator: Doubles, denominator: Doubles) -> Doubles:
    """0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _mean_of(values: Doubles, known: Bools) -> Doubles:
    """[resamples]: the mean over the labels that are known, 0 without any."""
    return _ratio((values * known).sum(axis=1), known.sum(axis=1).astype(np.float64))


def _weighted_f1(support: Doubles, predicted: Doubles, hits: Doubles, total: Doubles) -> Doubles:
    f1 = _ratio(2 * hits, support + predicted)
    return _ratio((f1 * support).sum(axis=1), support.sum(axis=1))


def _macro_f1(support: Doubles, predicted: Doubles, hits: Doubles, total: Doubles) -> Doubles:
    return _mean_of(_ratio(2 * hits, support + predicted), support > 0)


def _micro_f1(support: Doubles, predicted: Doubles, hits: Doubles, total: Doubles) -> Doubles:
    return _ratio(2 * hits.sum(axis=1), (support + predicted).sum(axis=1))


def _balanced_accuracy(support: Doubles, predicted: Doubles, hits: Doubles, total: Doubles) -> Doubles:
    absent = total - support
    rates = _ratio(hits, support) + _ratio(absent - (predicted - hits), absent)
    return _mean_of(rates / 2, (support > 0) & (absent > 0))


def _exact_match(labels: Bools, probabilities: Doubles, given: Bools) -> Doubles:
    return np.asarray((labels == given).all(axis=1), dtype=np.float64)


def _hamming(labels: Bools, probabilities: Doubles, given: Bools) -> Doubles:
    return np.asarray((labels != given).mean(axis=1))


def _log_likelihood_loss(labels: Bools, probabilities: Doubles, given: Bools) -> Doubles:
    own = np.where(labels, probabilities, 1 - probabilities)
    return np.asarray(-np.log(np.clip(own, np.finfo(np.float64).eps, None)).mean(axis=1))


def _squared_error(labels: Bools, probabilities: Doubles, given: Bools) -> Doubles:
    return np.asarray(np.square(probabilities - labels).mean(axis=1))


def _ece(counts: Doubles, labels: Bools, probabilities: Doubles) -> Doubles:
    each = np.zeros(len(counts))
    for truth, of_label in zip(labels.T, probabilities.T, strict=True):
        gaps = np.eye(BINS)[width_bin(of_label)] * (truth - of_label)[:, None]
        each += np.abs(counts @ gaps).sum(axis=1)
    return np.asarray(each / labels.shape[1] / counts.sum(axis=1))


def _map(counts: Doubles, labels: Bools, probabilities: Doubles) -> Doubles:
    found = [_average_precision(counts, *pair) for pair in zip(labels.T, probabilities.T, strict=True)]
    known = np.stack([counts @ truth > 0 for truth in labels.T], axis=1)
    return _mean_of(np.stack(found, axis=1), known)


def _average_precision(counts: Doubles, truth: Bools, probabilities: Doubles) -> Doubles:
    """[resamples]: the mean over the samples with the label of the precision among all that score no less."""
    order = np.argsort(-probabilities, kind="stable")
    ranked = probabilities[order]
    places = np.flatnonzero(truth[order])
    # Equal scores are given together: what counts at a place is the last of its equals.
    last = np.searchsorted(-ranked, -ranked[places], side="right") - 1
    own = counts[:, order[places]]
    given = counts[:, order].cumsum(axis=1)[:, last]
    hits = own.cumsum(axis=1)[:, np.searchsorted(places, last, side="right") - 1]
    return _ratio((own * _ratio(hits, given)).sum(axis=1), own.sum(axis=1))


_OF_COUNTS: dict[str, Callable[[Doubles, Doubles, Doubles, Doubles], Doubles]] = {
    "weighted_f1": _weighted_f1,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
    "balanced_accuracy": _balanced_accuracy,
}
_OF_SAMPLES: dict[str, Callable[[Bools, Doubles, Bools], Doubles]] = {
    "exact_match": _exact_match,
    "hamming": _hamming,
    "nll": _log_likelihood_loss,
    "brier": _squared_error,
}
_OF_PROBABILITIES: dict[str, Callable[[Doubles, Bools, Doubles], Doubles]] = {"map": _map, "ece": _ece}
