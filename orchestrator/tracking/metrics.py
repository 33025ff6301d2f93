"""The single values of a trial and of a confirmed model, by the names that MLflow shows."""

from __future__ import annotations

from statistics import fmean

from orchestrator.events import ModelRow, Report, TrialRecord
from orchestrator.scores import by_fold
from orchestrator.tracking.info import SweepInfo


def summary_metrics(trial: TrialRecord, info: SweepInfo) -> dict[str, float]:
    """`final/<m>` of the last epoch, `best/<m>` of the best, `objective/<name>`: the same keys in all trials.

    Over folds, `fold/<k>/dev/<m>` is of the best epoch of each and `best/dev/<m>` their mean.
    """
    values = {f"objective/{k}": v for k, v in trial.values.items()}
    if not trial.reports:
        return values
    values |= {f"final/{k}": v for k, v in trial.reports[-1].metrics.items()}
    folds = by_fold(trial.reports)
    best = {fold: one for fold, reports in folds.items() if (one := _best(reports, info)) is not None}
    for fold, one in best.items():
        values |= {f"fold/{fold}/{k}": v for k, v in one.metrics.items() if k.startswith("dev/")}
    for name in {name for one in best.values() for name in one.metrics if name.startswith("dev/")}:
        values[f"best/{name}"] = fmean(one.metrics[name] for one in best.values() if name in one.metrics)
    whole = None if folds else _best(trial.reports, info)
    if whole is not None:
        values |= {f"best/{k}": v for k, v in whole.metrics.items()} | {"best/epoch": float(whole.epoch)}
    return values


def _best(reports: list[Report], info: SweepInfo) -> Report | None:
    """By the first objective that epochs report; those of phase 0 (representation) have no score that counts."""
    for name, direction in info.objectives:
        scored = [
            r
            for r in reports
            if r.metrics.get("phase", 1.0) >= 1 and abs(r.metrics.get(f"dev/{name}", float("nan"))) < float("inf")
        ]
        if scored:
            choose = max if direction == "max" else min
            return choose(scored, key=lambda r: r.metrics[f"dev/{name}"])
    return None


def model_metrics(row: ModelRow) -> dict[str, float]:
    """The confirmed figures of a model; those that were not measured are absent."""
    values: dict[str, float | None] = {
        "score": row.score,
        "score_sd": row.sd,
        "interval/low": row.interval.low,
        "interval/high": row.interval.high,
        "dev_score": row.dev_score,
        "parameters": float(row.parameters),
        "latency_ms": row.latency_ms,
        **{f"test/{k.removeprefix('test/')}": v for k, v in row.metrics.items()},
    }
    for name, spread in row.folds.items():
        values |= {f"folds/{name}/mean": spread.mean, f"folds/{name}/sd": spread.sd}
        values |= {f"fold/{fold}/{name}": value for fold, value in enumerate(spread.each)}
    for one in row.robustness:
        name = metric_name(one.name)
        values |= {f"robustness/{name}": one.score, f"robustness_change/{name}": one.change}
    return {k: v for k, v in values.items() if v is not None}


def metric_name(condition: str) -> str:
    """Of a condition, in letters that MLflow takes: `words-dropped-30pct`, `only-audio-text`."""
    return condition.replace("%", "pct").replace("+", "-")
