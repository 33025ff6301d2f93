"""The sentences that both displays say of a sweep, and which trials are worth a row."""

from __future__ import annotations

from orchestrator.display import words
from orchestrator.display.board import Board
from orchestrator.events import ModelRow, StageName, TrialRecord

ROWS = 8
"""Most trials shown at once: the best, the running ones, then those that ended last."""


def stage_words(board: Board, name: StageName) -> str:
    """What there is to say of a stage in one line."""
    view = board.stages[name]
    if view.state == "skipped":
        return f"skipped: {view.note}"
    if view.state == "running" and name == "sweep" and board.trials:
        return sweep_words(board)
    if view.state == "running" and view.total:
        return f"{view.done}/{view.total} {view.note}".rstrip()
    return view.note


def sweep_words(board: Board) -> str:
    """`7/20 trials (1 failed), best 0.612 by trial 4, about 2 min left`."""
    parts = [f"{board.finished}/{board.total} trials"]
    failed = board.count("failed")
    if failed:
        parts[0] += f" ({failed} failed)"
    best = board.best()
    if best is not None:
        parts.append(f"best {words.score(board.score(best))} by trial {best.number}")
    left = board.seconds_left()
    if left is not None and board.finished < board.total:
        parts.append(f"about {words.roughly(left)} left")
    return ", ".join(parts)


def shown_trials(board: Board, best: TrialRecord | None) -> list[TrialRecord]:
    """At most ROWS: the best, the running, then the latest to end; in order of number."""
    running = [trial for trial in board.trials.values() if trial.state == "running"]
    ended = [board.trials[number] for number in reversed(board.ended)]
    chosen = {trial.number: trial for trial in [*([best] if best else []), *running, *ended][:ROWS]}
    return [chosen[number] for number in sorted(chosen)]


def reached(trial: TrialRecord, folds: int) -> str:
    """`7`, or over folds `fold 2/5, 7`: the last epoch that ended; empty before the first."""
    if not trial.reports:
        return ""
    last = trial.reports[-1].metrics
    if "fold" not in last:
        return str(trial.epochs)
    epoch = last.get("epoch", last.get("ended_at", 0.0))
    return f"fold {int(last['fold']) + 1}/{folds}, {int(epoch)}"


def varying(trials: list[TrialRecord]) -> list[str]:
    """The searched paths whose values are not the same in all of these trials."""
    seen: dict[str, set[str]] = {}
    for trial in trials:
        for path, value in trial.params.items():
            seen.setdefault(path, set()).add(repr(value))
    return [path for path, values in seen.items() if len(values) > 1] or list(seen)


def spread(row: ModelRow) -> str:
    """`0.612 ± 0.008`, or the score alone with one seed."""
    return words.score(row.score) if row.sd is None else f"{words.score(row.score)} ± {words.score(row.sd)}"
