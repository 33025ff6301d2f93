"""Tune's events as changes of trial records."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from orchestrator.launch.error_lines import first_line
from orchestrator.launch.group import release
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.messages import GROUP, outcome_of, reports_of


class JournalCallback(Callback):  # type: ignore[misc]
    """Runs in the driver, within Tune's one loop: everything slow is the observer's own affair."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._groups: dict[int, list[str]] = {}
        """The placement groups of running trials of several workers."""

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ledger.start(_number(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        number, outcome = _number(trial), outcome_of(result)
        if GROUP in result:
            self._groups.setdefault(number, []).append(result[GROUP])
        self._ledger.report(number, reports_of(result))
        if outcome is not None:
            self._ledger.finish(number, outcome.state, outcome.reason, outcome.values)
        elif number in self._ledger.reasons:
            self._ledger.finish(number, "pruned", self._ledger.reasons.pop(number))
            self._release(number)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A trial that Tune holds for complete has sent its final marker, or ended without a word."""
        self._ledger.finish(_number(trial), "failed", "ended without a final report")
        self._release(_number(trial))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._ledger.requeue(_number(trial))
        self._release(_number(trial))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        error = trial.get_pickled_error() or trial.get_error()
        reason = first_line(error) if error is not None else "no reason given"
        self._ledger.finish(_number(trial), "failed", f"its process was lost: {reason}")
        self._release(_number(trial))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for number in list(self._groups):
            self._release(number)

    def _release(self, number: int) -> None:
        for group in self._groups.pop(number, []):
            release(group)

    def __reduce__(self) -> Any:
        return self._ledger.__reduce__()


def _number(trial: Trial) -> int:
    return int(trial.config["number"])
