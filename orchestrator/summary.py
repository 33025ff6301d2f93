"""The summary of a sweep, as `--json` prints it and as `<sweep>/summary-<digest>.json` keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from orchestrator.events import Interval, ModelRow, StageName


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class StageSummary(_Value):
    skipped: bool
    seconds: float
    why: str = ""
    """Why it was skipped, or what it says of itself."""


class TrialCounts(_Value):
    total: int
    completed: int
    pruned: int
    failed: int


class Gain(_Value):
    """How much one configuration scores above another one, on test."""

    of: str = ""
    """Name of the row that gained; empty: the best one."""
    over: str
    """Name of the leaderboard row that is compared with."""
    difference: float
    interval: Interval
    """95 % paired bootstrap over test utterances."""
    p_value: float | None = None


class Summary(_Value):
    experiment: str
    fingerprint: str
    stand_in: bool
    metric: str
    stages: dict[StageName, StageSummary]
    trials: TrialCounts
    leaderboard: list[ModelRow]
    """Best first within a role; scores are of the test split."""
    gains: list[Gain]
    ceilings: dict[str, float] | None
    """The score that the stand-in's generating rules allow a perfect reader (Bayes) of each subset of its
    modalities, as `audio+visual`; None off the stand-in."""
    paths: dict[str, str]
    """Where everything lies, by what it is: storage, sweep, models, mlflow, ..."""
    front: list[int] = []
    """Numbers of the trials on the Pareto front, where several objectives are searched."""
    folds: int = 0
    """Of the cross-validation; 0 with one official split."""
    labels: list[str] = []
    """Of the rows and columns of the confusion matrices."""
    alignment: dict[str, int] = {}
    """Rows by the source of the segments that were read; empty where none were."""
    comparable: bool = True
    """False where the segments are no alignment, only equal shares: the scores compare with no one else's."""
    ceilings_metric: str = "weighted_f1"
    """The score that the ceilings are of: the sweep's own where they are known of it."""
    inputs: list[str] = []
    """The sets of modalities over which a dev score of the method is the mean, where there are several."""
    ablations: list[Gain] = []
    """What each ablation costs: the gain of the configuration that it is laid on over the ablated one."""


__all__ = ["Gain", "StageSummary", "Summary", "TrialCounts"]
