"""How well each of several labels is told: for the summary, as a table for storage, and for MLflow's table view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from orchestrator.events import LabelScore, ModelRow

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def by_label(
    labels: NDArray[Any],
    probabilities: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    names: Sequence[str],
) -> list[LabelScore]:
    """labels [samples, classes]; probabilities and thresholds [seeds, samples, classes]; means over seeds."""
    from trainables.metrics import per_label

    seeds = list(zip(probabilities, thresholds, strict=True))
    plain = [per_label(labels, p) for p, _ in seeds]
    tuned = [per_label(labels, p, t) for p, t in seeds]
    return [
        LabelScore(
            label=name,
            support=int(labels[:, c].sum()),
            balanced_accuracy=_mean(seed[c]["balanced_accuracy"] for seed in plain),
            f1=_mean(seed[c]["f1"] for seed in plain),
            average_precision=_mean(seed[c]["ap"] for seed in plain),
            tuned_f1=_mean(seed[c]["f1"] for seed in tuned),
            threshold=float(thresholds[:, :, c].mean()),
        )
        for c, name in enumerate(names)
    ]


def label_table(rows: Sequence[ModelRow]) -> pa.Table:
    """One row a model and label."""
    import pyarrow as pa

    scores = ("balanced_accuracy", "f1", "average_precision", "tuned_f1", "threshold")
    types = [
        ("model", pa.string()), ("role", pa.string()), ("label", pa.string()), ("support", pa.int64()),
        *((name, pa.float64()) for name in scores), ("seeds", pa.int32()),
    ]  # fmt: skip
    found = [
        {"model": row.name, "role": row.role, "seeds": len(row.seeds), **one.model_dump()}
        for row in rows
        for one in row.by_label
    ]
    return pa.Table.from_pylist(found, schema=pa.schema(types))


def as_columns(rows: Sequence[ModelRow]) -> dict[str, Any]:
    """{columns, data}, as MLflow shows a table."""
    columns = ["model", *LabelScore.model_fields]
    return {
        "columns": columns,
        "data": [[row.name, *one.model_dump().values()] for row in rows for one in row.by_label],
    }


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
