"""A leaderboard's scores where input is missing or damaged, as tables: for storage, and for MLflow's table view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.events import ModelRow

if TYPE_CHECKING:
    import pyarrow as pa

_FIXED = ("model", "role", "condition", "score", "low", "high", "change", "change_low", "change_high", "seeds")
CLEAN = "clean"
"""The condition of the row in which nothing is missing or damaged."""


def robustness_table(rows: Sequence[ModelRow]) -> pa.Table:
    """One row a model and condition, the clean one first; further metrics are columns, null where unknown."""
    import pyarrow as pa

    found = list(_lines(rows))
    texts = [(name, pa.string()) for name in _FIXED[:3]]
    numbers = [(name, pa.float64()) for name in (*_FIXED[3:-1], *_metrics(rows))]
    return pa.Table.from_pylist(found, schema=pa.schema([*texts, *numbers, ("seeds", pa.int32())]))


def as_columns(rows: Sequence[ModelRow]) -> dict[str, Any]:
    """{columns, data}, as MLflow shows a table."""
    columns = [*_FIXED[:-1], *_metrics(rows)]
    return {"columns": columns, "data": [[line.get(name) for name in columns] for line in _lines(rows)]}


def _metrics(rows: Sequence[ModelRow]) -> list[str]:
    names = {name: None for row in rows for one in row.robustness for name in one.metrics}
    return list(names)


def _lines(rows: Sequence[ModelRow]) -> Iterator[dict[str, Any]]:
    metrics = _metrics(rows)
    for row in rows:
        if not row.robustness:
            continue
        fixed = {"model": row.name, "role": row.role, "seeds": len(row.seeds)}
        known = {name: row.metrics[name] for name in metrics if name in row.metrics}
        clean = {"score": row.score, "low": row.interval.low, "high": row.interval.high}
        yield {**known, **fixed, "condition": CLEAN, **clean, "change": 0.0}
        for one in row.robustness:
            yield {
                **one.metrics,
                **fixed,
                "condition": one.name,
                "score": one.score,
                "low": one.interval.low,
                "high": one.interval.high,
                "change": one.change,
                "change_low": one.change_interval.low,
                "change_high": one.change_interval.high,
            }
