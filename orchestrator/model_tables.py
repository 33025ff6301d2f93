"""Which tables a summary has of its models: confusion matrices, or scores by label, and scores under conditions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator import confusion, label_scores, robustness
from orchestrator.summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa


class ModelTable(NamedTuple):
    """One table in its two forms."""

    stored: Callable[[], pa.Table]
    shown: Callable[[], dict[str, Any]]
    """{columns, data}, as MLflow shows a table."""


def model_tables(summary: Summary) -> dict[str, ModelTable]:
    """By the name of their files; a model without its part of one has no row there."""
    rows, labels = summary.leaderboard, summary.labels
    found = {}
    if rows[0].by_label:
        forms = partial(label_scores.label_table, rows), partial(label_scores.as_columns, rows)
        found["labels"] = ModelTable(*forms)
    if rows[0].confusion:
        matrices = partial(confusion.confusion_table, rows, labels), partial(confusion.as_columns, rows, labels)
        found["confusion"] = ModelTable(*matrices)
    if any(row.robustness for row in rows):
        harmed = partial(robustness.robustness_table, rows), partial(robustness.as_columns, rows)
        found["robustness"] = ModelTable(*harmed)
    return found
