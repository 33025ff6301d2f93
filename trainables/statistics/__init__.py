"""Bootstrap intervals on a test set, for models of several seeds.

Utterances are resampled and the metric is averaged over the seeds of a model, so an interval says what another
test set would give for these trained models; the spread over seeds is given beside it. A metric is a function
of how often each utterance counts, mostly of sums over utterances (a confusion matrix, bins, or plain means): a
resample is then a row of counts, and all resamples are one matrix product.

Labels are [samples], or [samples, classes] of 0 and 1 with several an utterance. Metrics are those of `metrics_of`,
and with several labels also TUNED before the name of one that thresholds bear on. The thresholds are [classes],
[seeds, classes], or [seeds, samples, classes] where utterances have their own, as those of several folds do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.metrics import AT_THRESHOLDS, THRESHOLD, normalised
from trainables.spec.metrics import TUNED, metrics_of
from trainables.statistics import one_label, several_labels

Floats = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[Any]
Doubles = npt.NDArray[np.float64]

_CHUNK = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Difference:
    """Metric of a less metric of b, its percentile interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Standing:
    """Percentile interval of a model's metric, and its difference to the model that it is compared with."""

    low: float
    high: float
    change: Difference


def bootstrap_interval(
    labels: Labels,
    probabilities: Floats,
    metric: str = "weighted_f1",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    thresholds: Floats | None = None,
) -> tuple[float, float]:
    """Percentile interval (low, high) of `metric`, averaged over seeds, under resampling of the utterances.

    probabilities [samples, classes] or [seeds, samples, classes]. The same seed gives the same interval.
    ValueError names an unknown metric, and a tuned one without thresholds.
    """
    (values,) = _replicates(labels, [_model(labels, probabilities, thresholds)], metric, resamples, seed)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    labels: Labels,
    a: Floats,
    b: Floats,
    metric: str = "weighted_f1",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    thresholds: tuple[Floats, Floats] | None = None,
) -> Difference:
    """The gain of a over b on the same utterances, each averaged over its own seeds (numbers may differ).

    a, b: [samples, classes] or [seeds, samples, classes]; `thresholds`: a's and b's. p = 2 min(P(d* <= 0),
    P(d* >= 0)) over the resampled differences d*, with one added to counts and resamples, so it is never 0 and at
    most 1.
    """
    limits = thresholds or (None, None)
    models = [_model(labels, one, limit) for one, limit in zip((a, b), limits, strict=True)]
    plain = [_point(labels, model, metric) for model in models]
    of_a, of_b = _replicates(labels, models, metric, resamples, seed)
    return _difference(plain[0] - plain[1], of_a - of_b, level)


def against(
    labels: Labels,
    base: Floats,
    others: Sequence[Floats],
    metric: str = "weighted_f1",
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[Standing]:
    """Each of `others` against `base`: what `bootstrap_interval` of it and `paired_bootstrap` of both say, the
    resamples of all being drawn once. Shapes as there; `metric` is none of those at fitted thresholds.
    """
    models = [_model(labels, one, None) for one in (base, *others)]
    plain = [_point(labels, model, metric) for model in models]
    drawn = _replicates(labels, models, metric, resamples, seed)
    found = []
    for value, values in zip(plain[1:], drawn[1:], strict=True):
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        found.append(Standing(float(low), float(high), _difference(value - plain[0], values - drawn[0], level)))
    return found


def point(
    labels: Labels, probabilities: Floats, metric: str = "weighted_f1", *, thresholds: Floats | None = None
) -> float:
    """`metric` on the utterances as they are, averaged over seeds; arguments as in `bootstrap_interval`."""
    return _point(labels, _model(labels, probabilities, thresholds), metric)


def _difference(plain: float, drawn: Doubles, level: float) -> Difference:
    """`plain` with what its resamples [resamples] say."""
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    fewer = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return Difference(plain, float(low), float(high), min(1.0, 2 * (fewer + 1) / (len(drawn) + 1)))


@dataclass(frozen=True)
class _Model:
    stack: Doubles
    """[seeds, samples, classes]; with one label an utterance each row sums to 1."""
    thresholds: Doubles | None
    """Broadcast to the stack."""


def _model(labels: Labels, probabilities: Floats, thresholds: Floats | None) -> _Model:
    stack = probabilities if probabilities.ndim == 3 else probabilities[None]
    if labels.ndim == 1:
        return _Model(normalised(stack), None)
    if thresholds is not None and thresholds.ndim == 2:
        thresholds = thresholds[:, None]
    return _Model(stack.astype(np.float64), None if thresholds is None else thresholds.astype(np.float64))


def _point(labels: Labels, model: _Model, metric: str) -> float:
    return float(_score(np.ones((1, len(labels))), labels, model, metric)[0])


def _replicates(labels: Labels, models: Sequence[_Model], metric: str, resamples: int, seed: int) -> list[Doubles]:
    """The metric of each model on the same resamples: [resamples] each."""
    parts = [
        [_score(counts, labels, model, metric) for model in models]
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


def _score(counts: Doubles, labels: Labels, model: _Model, metric: str) -> Doubles:
    """Mean over seeds of the metric of each resample: [resamples]."""
    several = labels.ndim == 2
    names = (*metrics_of(several), *(TUNED + name for name in AT_THRESHOLDS if several))
    if metric not in names:
        raise ValueError(f"metric '{metric}': metrics are {list(names)}")
    if not several:
        return one_label.resampled(counts, labels, model.stack, metric)
    limits = np.array(THRESHOLD)
    if metric.startswith(TUNED):
        if model.thresholds is None:
            raise ValueError(f"metric '{metric}': it needs the thresholds fitted on dev")
        limits = model.thresholds
    return several_labels.resampled(counts, labels > 0.5, model.stack, metric.removeprefix(TUNED), limits)
