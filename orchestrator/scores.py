"""What a trial scores: that of its best epoch so far, and over folds the mean of each fold's best.

A trial over several folds tells its epochs as one run: the epochs of fold k, counted from 0, are told as the steps
after k times the length of a fold, and the metric `fold` says which it is. Its score at a step is the mean over the
folds that have a score by then, each with its best epoch's, the running one among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from orchestrator.events import Report
from trainables.spec.metrics import LOWER_IS_BETTER

CLASSIFICATION = 1.0
"""`phase` of an epoch whose dev score counts."""
FOLD = "fold"


def best_report(reports: Sequence[Report], metric: str) -> Report | None:
    """The earliest epoch with the best dev score, of those whose score counts; None where none does."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    key = f"dev/{metric}"
    counted = [r for r in reports if r.metrics.get("phase", CLASSIFICATION) == CLASSIFICATION and key in r.metrics]
    finite = [r for r in counted if math.isfinite(r.metrics[key])]
    return max(finite, key=lambda r: sign * r.metrics[key], default=None)


def by_fold(reports: Sequence[Report]) -> dict[int, list[Report]]:
    """The reports of each fold, in order; {} without folds."""
    found: dict[int, list[Report]] = {}
    for report in reports:
        if FOLD in report.metrics:
            found.setdefault(int(report.metrics[FOLD]), []).append(report)
    return found


def best_of_each(reports: Sequence[Report], metric: str) -> list[Report]:
    """The best epoch of each fold that has one; of the whole run without folds."""
    groups = list(by_fold(reports).values()) or [list(reports)]
    best = (best_report(group, metric) for group in groups)
    return [report for report in best if report is not None]


def values_at(reports: Sequence[Report], metric: str, names: Sequence[str]) -> dict[str, float]:
    """Those of the scores `names` that the best epoch tells; over folds as `over_folds` has it."""
    found = []
    for best in best_of_each(reports, metric):
        values = {name: best.metrics.get(f"dev/{name}") for name in names}
        found.append({name: v for name, v in values.items() if v is not None and math.isfinite(v)})
    if not by_fold(reports):
        return found[0] if found else {}
    return over_folds(found)


def over_folds(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """`name`: the mean over folds; `name/sd`: the standard deviation of two or more; `fold/0/name`: each one's."""
    found: dict[str, float] = {}
    for name in values[0] if values else ():
        each = [one[name] for one in values if name in one]
        found[name] = fmean(each)
        if len(each) > 1:
            found[f"{name}/sd"] = stdev(each)
    for fold, one in enumerate(values):
        found |= {f"{FOLD}/{fold}/{name}": value for name, value in one.items()}
    return found


def score_of(reports: Sequence[Report], metric: str, objective: str) -> float | None:
    """The score `objective` at the epochs that `metric` calls best."""
    return values_at(reports, metric, [objective]).get(objective)


def scores_by_epoch(reports: Sequence[Report], metric: str, objective: str) -> dict[int, float]:
    """The score after each epoch, from the first that counts."""
    found = {r.epoch: score_of(reports[: i + 1], metric, objective) for i, r in enumerate(reports)}
    return {epoch: score for epoch, score in found.items() if score is not None}
