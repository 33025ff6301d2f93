"""Made-up trials, rows and summaries for whatever shows them."""

from __future__ import annotations

from typing import Any

from orchestrator.events import Interval, ModelRole, ModelRow, Report, TrialRecord, TrialRole, TrialState
from orchestrator.summary import Gain, StageSummary, Summary, TrialCounts


def trial(
    number: int,
    state: TrialState = "completed",
    scores: tuple[float, ...] = (),
    *,
    role: TrialRole = "search",
    phases: tuple[int, ...] = (),
    started: float = 0.0,
    ended: float = 0.0,
    **rest: Any,
) -> TrialRecord:
    """A trial with these dev scores by epoch; an ended one has the last as its value."""
    reports = [
        Report(epoch=n, metrics={"dev/weighted_f1": s, "phase": float(phases[n - 1] if phases else 1)})
        for n, s in enumerate(scores, 1)
    ]
    values = {"weighted_f1": scores[-1]} if state in ("completed", "pruned") and scores else {}
    params = rest.pop("params", {"training.learning_rate": 0.001 * (number + 1)})
    return TrialRecord(
        number=number,
        role=role,
        params=params,
        state=state,
        values=values,
        reports=reports,
        started=started,
        ended=ended,
        **rest,
    )


def row(name: str, role: ModelRole, score: float, sd: float | None = 0.01, **rest: Any) -> ModelRow:
    fixed: dict[str, Any] = {"dev_score": score, "seeds": [1000, 1001], "parameters": 126_307, "latency_ms": 2.125}
    interval = Interval(low=score - 0.04, high=score + 0.04)
    return ModelRow(name=name, role=role, score=score, sd=sd, interval=interval, **{**fixed, **rest})


def summary(**change: Any) -> Summary:
    whole = Summary(
        experiment="cmd-meld",
        fingerprint="0123456789abcdef",
        stand_in=True,
        metric="weighted_f1",
        stages={
            "prepare": StageSummary(skipped=True, seconds=0.0, why="it is there"),
            "sweep": StageSummary(skipped=False, seconds=61.5),
        },
        trials=TrialCounts(total=12, completed=8, pruned=3, failed=1),
        leaderboard=[
            row("trial-0004", "best", 0.561),
            row("default", "default", 0.551),
            row("supervised", "control", 0.521),
            row("audio-only", "unimodal", 0.39),
            row("teacher-fusion", "teacher", 0.571, None, seeds=[0], parameters=94_371_712, latency_ms=None),
        ],
        gains=[
            Gain(over="default", difference=0.01, interval=Interval(low=-0.01, high=0.03)),
            Gain(over="supervised", difference=0.04, interval=Interval(low=0.012, high=0.068), p_value=0.004),
        ],
        ceilings={"audio": 0.551, "text": 0.552, "audio+text": 0.71},
        paths={"storage": "/data/orch-store", "sweep": "/data/orch-store/sweeps/cmd-meld-0123456789abcdef"},
    )
    return whole.model_copy(update=change)
