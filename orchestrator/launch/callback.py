"""Tune's events as changes of trial records; and the end of trials that have gone silent."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from orchestrator.launch.group import release
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.losses import Loss, loss_of
from orchestrator.launch.messages import GROUP, outcome_of, reports_of
from orchestrator.launch.silence import Silence


class JournalCallback(Callback):  # type: ignore[misc]
    """Runs in the driver, within Tune's one loop: everything slow is the observer's own affair.

    Tune itself tries nothing again. What the ledger queues, the searcher hands out as a new trial of Tune's.
    """

    def __init__(self, ledger: Ledger, search: Searcher, silent_minutes: float) -> None:
        """`silent_minutes`: how long a running trial may tell nothing before its process is ended; 0 for ever."""
        self._ledger, self._search, self._minutes = ledger, search, silent_minutes
        self._silence: Silence[str] = Silence(60 * silent_minutes)
        self._hung: set[str] = set()
        self._groups: dict[int, list[str]] = {}
        """The placement groups of running trials of several workers."""
        self._seen = 0
        self._open: dict[str, Trial] = {}
        """Tune's trials without an end, by Tune's name for them."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._open |= {trial.trial_id: trial for trial in trials[self._seen :]}
        self._seen = len(trials)
        for trial in [trial for trial in self._open.values() if trial.status == Trial.ERROR]:
            # A used process that could not be made ready for it: Tune drops the trial and tells nobody.
            self._search.on_trial_complete(trial.trial_id, error=True)
            self._lost(trial, Loss("its process was not ready for it", counts=False))
        for name in self._silence.overdue():
            if name in self._open:
                self._end(self._open[name])

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._silence.heard(trial.trial_id)
        self._ledger.start(_number(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._silence.heard(trial.trial_id)
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
        self._forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if trial.trial_id in self._hung:
            reason = f"it told nothing for {self._minutes:g} minutes (resources.trial.silent_minutes)"
            self._lost(trial, Loss(reason, machine=False))
        else:
            self._lost(trial, loss_of(trial))

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        for number in list(self._groups):
            self._release(number)

    def _end(self, trial: Trial) -> None:
        """Kill the silent trial's process, which Tune then reports as an error."""
        import ray

        actor = trial.temporary_state.ray_actor
        if actor is not None:
            self._hung.add(trial.trial_id)
            ray.kill(actor)

    def _lost(self, trial: Trial, loss: Loss) -> None:
        self._ledger.lose(_number(trial), loss)
        self._forget(trial)

    def _forget(self, trial: Trial) -> None:
        self._silence.forget(trial.trial_id)
        self._open.pop(trial.trial_id, None)
        self._release(_number(trial))

    def _release(self, number: int) -> None:
        for group in self._groups.pop(number, []):
            release(group)

    def __reduce__(self) -> Any:
        return self._ledger.__reduce__()


def _number(trial: Trial) -> int:
    return int(trial.config["number"])
