"""Bootstrap intervals on a test set, for models of several seeds.

Utterances are resampled and the metric is averaged over the seeds of a model, so an interval says what another
test set would give for these trained models; the spread over seeds is given beside it. Every metric is a
function of sums over utterances (a confusion matrix, bins, or plain means): a resample is then a row of counts,
and all resamples are one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.metrics import normalised
from trainables.spec.metrics import METRICS
from trainables.uncertainty import BINS, confidences, width_bin

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Doubles = npt.NDArray[np.float64]

_CHUNK = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Difference:
    """Metric of a less metric of b, its percentile interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    labels: Ints,
    probabilities: Floats,
    metric: str = "weighted_f1",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval (low, high) of `metric`, averaged over seeds, under resampling of the utterances.

    labels [samples]; probabilities [samples, classes] or [seeds, samples, classes]. The same seed gives the
    same interval. ValueError names an unknown metric.
    """
    (values,) = _replicates(labels, [probabilities], metric, resamples, seed)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    labels: Ints,
    a: Floats,
    b: Floats,
    metric: str = "weighted_f1",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """The gain of a over b on the same utterances, each averaged over its own seeds (numbers may differ).

    labels [samples]; a, b: [samples, classes] or [seeds, samples, classes]. p = 2 min(P(d* <= 0), P(d* >= 0))
    over the resampled differences d*, with one added to counts and resamples, so it is never 0 and at most 1.
    """
    difference = point(labels, a, metric) - point(labels, b, metric)
    of_a, of_b = _replicates(labels, [a, b], metric, resamples, seed)
    gains = of_a - of_b
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    fewer = min(int((gains <= 0).sum()), int((gains >= 0).sum()))
    p_value = min(1.0, 2 * (fewer + 1) / (resamples + 1))
    return Difference(difference, float(low), float(high), p_value)


def point(labels: Ints, probabilities: Floats, metric: str = "weighted_f1") -> float:
    """`metric` on the utterances as they are, averaged over seeds; shapes as in `bootstrap_interval`."""
    return float(_score(np.ones((1, len(labels))), labels, _stacked(probabilities), metric)[0])


def _replicates(labels: Ints, models: Sequence[Floats], metric: str, resamples: int, seed: int) -> list[Doubles]:
    """The metric of each model on the same resamples: [resamples] each."""
    stacks = [_stacked(model) for model in models]
    parts = [
        [_score(counts, labels, stack, metric) for stack in stacks]
        for counts in _draws(len(labels), resamples, seed)
    ]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]


def _draws(samples: int, resamples: int, seed: int) -> Iterator[Doubles]:
    """How often each utterance is drawn in each resample: float64 [part of resamples, samples]."""
    random = np.random.default_rng(seed)
    step = max(1, _CHUNK // samples)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = random.integers(samples, size=(rows, samples)) + samples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * samples)
        yield counts.reshape(rows, samples).astype(np.float64)


def _stacked(probabilities: Floats) -> Doubles:
    """[seeds, samples, classes], each row summing to 1."""
    return normalised(probabilities if probabilities.ndim == 3 else probabilities[None])


def _score(counts: Doubles, labels: Ints, stack: Floats, metric: str) -> Doubles:
    """Mean over seeds of the metric of each resample: [resamples]."""
    if metric not in METRICS:
        raise ValueError(f"metric '{metric}': metrics are {list(METRICS)}")
    total = counts.sum(axis=1)
    if metric in _OF_SAMPLES:
        values = np.stack([_OF_SAMPLES[metric](labels, seed) for seed in stack], axis=1)
        return np.asarray((counts @ values).mean(axis=1) / total)
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
