"""The confusion matrices of a leaderboard as tables: for storage, and for MLflow's table view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.events import ModelRow

if TYPE_CHECKING:
    import pyarrow as pa


def confusion_table(rows: Sequence[ModelRow], labels: Sequence[str]) -> pa.Table:
    """One row a model, label and prediction. `count`: test utterances, summed over `seeds` seeds and over folds;
    `share`: of the label's own.
    """
    import pyarrow as pa

    types = [
        ("model", pa.string()), ("role", pa.string()), ("label", pa.string()), ("predicted", pa.string()),
        ("count", pa.int64()), ("share", pa.float64()), ("seeds", pa.int32()),
    ]  # fmt: skip
    return pa.Table.from_pylist(list(_cells(rows, labels)), schema=pa.schema(types))


def as_columns(rows: Sequence[ModelRow], labels: Sequence[str]) -> dict[str, Any]:
    """One row a model and label, one column a prediction: {columns, data}, as MLflow shows a table."""
    data = [
        [row.name, label, *counts]
        for row in rows
        for label, counts in zip(labels, row.confusion, strict=row.confusion != [])
    ]
    return {"columns": ["model", "label", *labels], "data": data}


def _cells(rows: Sequence[ModelRow], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        for label, counts in zip(labels, row.confusion, strict=row.confusion != []):
            total = sum(counts)
            for predicted, count in zip(labels, counts, strict=True):
                yield {
                    "model": row.name,
                    "role": row.role,
                    "label": label,
                    "predicted": predicted,
                    "count": count,
                    "share": count / total if total else None,
                    "seeds": len(row.seeds),
                }
