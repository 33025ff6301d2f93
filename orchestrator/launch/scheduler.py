"""Which trials are not worth going on: asynchronous successive halving by our own epoch counter.

Ray's counter starts again when a trial does, and its own bookkeeping dies with the driver; here the rungs are
filled from the trial records first. A trial is judged by its best epoch so far. The default and the control are
never stopped: they are what the searched ones are measured against; the control is not part of the search and
fills no rung.

A trial over folds is judged by epochs in its first fold and at the end of every later one, by the mean over folds
(`orchestrator.scores`): a young score among ripe ones would tell trials apart by luck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from orchestrator.events import Report, TrialRecord
from orchestrator.experiment import COSTS, Asha, ExperimentSpec
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.messages import reports_of
from orchestrator.scores import score_of


@dataclass(frozen=True)
class _Known:
    """What a rung wants of a trial."""

    trial_id: str


class JournalAsha(AsyncHyperBandScheduler):  # type: ignore[misc]
    """Stops a searched trial whose score at a rung is below the best 1/`reduction` of those seen there."""

    def __init__(self, ledger: Ledger, spec: ExperimentSpec, asha: Asha) -> None:
        objective = spec.search.objectives[0]
        self._ledger, self._objective = ledger, objective
        self._folds, self._fold_epochs = len(spec.run.folds), spec.run.training.epochs
        self._epochs = self._folds * self._fold_epochs
        super().__init__(
            time_attr="epoch",
            metric=objective.metric,
            mode=objective.direction,
            max_t=max(self._epochs, asha.grace_epochs) + 1,
            grace_period=asha.grace_epochs,
            reduction_factor=asha.reduction,
        )
        for record in ledger.ordered():
            self._replay(record)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """All trials share the one bracket."""

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        record = self._ledger.records[trial.config["number"]]
        reports = reports_of(result)
        if not reports or record.role == "control":
            return str(TrialScheduler.CONTINUE)
        epoch, told = reports[-1].epoch, [*_before(record, reports[0].epoch), *reports]
        ends = range(len(told) - len(reports) + 1, len(told) + 1)
        stop = True in [self._judge(record, told[:end]) for end in ends]  # each of them fills its rung
        if not stop or record.role != "search" or epoch >= self._epochs:
            return str(TrialScheduler.CONTINUE)
        self._ledger.reasons[record.number] = f"stopped by ASHA at {self._told(epoch)}"
        return str(TrialScheduler.STOP)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """The end of a trial is no rung."""

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Nothing is kept of a trial but its rungs."""

    def __reduce__(self) -> Any:
        return self._ledger.__reduce__()

    def _replay(self, record: TrialRecord) -> None:
        if record.role != "control":
            for index in range(len(record.reports)):
                self._judge(record, record.reports[: index + 1])

    def _judge(self, record: TrialRecord, reports: list[Report]) -> bool:
        """Enter the score at the last of `reports` into its rung; whether the rung says stop."""
        score = score_of(reports, self._ledger.metric, self._objective.metric)
        if score is None or not self._is_rung(reports[-1].epoch):
            return False
        known = _Known(str(record.number))
        action = self._brackets[0].on_result(known, reports[-1].epoch, self._metric_op * score)
        return bool(action == TrialScheduler.STOP)

    def _is_rung(self, step: int) -> bool:
        """Whether trials may be judged there: in the first fold, or at the end of a later one."""
        return self._folds == 1 or step <= self._fold_epochs or step % self._fold_epochs == 0

    def _told(self, step: int) -> str:
        fold, epoch = divmod(step - 1, self._fold_epochs)
        return f"epoch {step}" if self._folds == 1 else f"fold {fold + 1} of {self._folds}, epoch {epoch + 1}"


def scheduler_for(ledger: Ledger, spec: ExperimentSpec) -> TrialScheduler:
    """ASHA where the experiment asks for it and its one objective is told at every epoch; else none.

    With several objectives nothing is stopped: a small student with a low score may well be on the Pareto front.
    """
    asha = spec.search.scheduler
    if isinstance(asha, Asha) and not spec.several_objectives and spec.search.objectives[0].metric not in COSTS:
        return JournalAsha(ledger, spec, asha)
    return FIFOScheduler()


def _before(record: TrialRecord, epoch: int) -> list[Report]:
    return [report for report in record.reports if report.epoch < epoch]
