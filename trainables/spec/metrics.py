"""The names of the scores, without the libraries that compute them (`trainables.metrics`)."""

from __future__ import annotations

METRICS = ("weighted_f1", "macro_f1", "accuracy", "uar", "nll", "brier", "ece")
LOWER_IS_BETTER = frozenset({"nll", "brier", "ece"})
