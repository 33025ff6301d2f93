"""The names of the scores, without the libraries that compute them (`trainables.metrics`)."""

from __future__ import annotations

METRICS = ("weighted_f1", "macro_f1", "accuracy", "uar", "nll", "brier", "ece")
"""Of one label an utterance."""
MULTI_LABEL_METRICS = (
    "weighted_f1", "macro_f1", "micro_f1", "balanced_accuracy", "map", "hamming", "exact_match", "nll", "brier",
    "ece",
)  # fmt: skip
"""Of several. A label is given where its probability is at least its threshold, which is 0.5; `balanced_accuracy`
is the mean over labels of half of TPR + TNR (the MOSEI literature's weighted accuracy)."""
TUNED = "tuned/"
"""Before the name of a score of several labels at thresholds fitted on dev."""
LOWER_IS_BETTER = frozenset({"nll", "brier", "ece", "hamming"})


def metrics_of(multi_label: bool) -> tuple[str, ...]:
    return MULTI_LABEL_METRICS if multi_label else METRICS
