"""What the driver knows of a sweep's trials: the journal's records in memory, and the only writer of them.

The searcher takes its next trial from it, the scheduler its scores, the Tune callback tells it what happened. It
passes every change to the observer at once and to the journal at every change of state, in between at most every
`WRITE_SECONDS` a trial, so that an object store sees a handful of writes a trial.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from orchestrator.events import Observer, Report, TrialRecord, TrialState
from orchestrator.experiment import SearchSpec
from orchestrator.journal import Journal, checkpoint_prefix
from orchestrator.scores import score_of, values_at

WRITE_SECONDS = 5.0


class Ledger:
    """Made from the journal; trials that a killed driver left running are queued again under their numbers."""

    def __init__(self, journal: Journal, observer: Observer, search: SearchSpec, metric: str) -> None:
        self.records: dict[int, TrialRecord] = {}
        self.reasons: dict[int, str] = {}
        """Why the scheduler has decided to stop a trial, until it has stopped."""
        self.search, self.metric = search, metric
        self._journal, self._observer = journal, observer
        self._written: dict[int, float] = {}
        for record in journal.read():
            self.records[record.number] = record
        for record in self.waiting():
            self._change(record, "queued")

    def __reduce__(self) -> tuple[type[_Absent], tuple[()]]:
        """Tune pickles what it is given into its run folder, which nobody reads: nothing of ours goes there."""
        return _Absent, ()

    def waiting(self) -> list[TrialRecord]:
        """Trials without an end, by number."""
        return [record for record in self.ordered() if not record.finished]

    def ordered(self) -> list[TrialRecord]:
        return [self.records[number] for number in sorted(self.records)]

    def queue(self, record: TrialRecord) -> None:
        """Keep a new trial before anything of it starts, so that its parameters survive the driver."""
        self.records[record.number] = record
        self._change(record, "queued")

    def start(self, number: int) -> None:
        record = self.records[number]
        record.attempts += 1
        record.started = record.started or time.time()
        self._change(record, "running")

    def report(self, number: int, reports: Iterable[Report]) -> None:
        """Take epochs as they come; an epoch told again after a restart replaces the earlier telling."""
        record = self.records[number]
        for report in reports:
            if any(known.epoch == report.epoch and known.metrics == report.metrics for known in record.reports):
                continue
            earlier = [known for known in record.reports if known.epoch < report.epoch]
            since = earlier[-1].at if earlier else record.started
            heard = report.model_copy(update={"at": max(time.time(), since)})
            record.reports = [*earlier, heard]
            self._observer.trial_reported(record, heard)
        if time.monotonic() - self._written.get(number, 0.0) >= WRITE_SECONDS:
            self._write(record)

    def finish(
        self, number: int, state: TrialState, reason: str = "", values: dict[str, float] | None = None
    ) -> None:
        """End a trial. Without `values` (a stopped one) those of its best epoch are taken from its reports."""
        record = self.records[number]
        if record.finished:
            return
        record.reason, record.ended = reason, time.time()
        if state != "failed":
            names = [objective.metric for objective in self.search.objectives]
            record.values = values or values_at(record.reports, self.metric, names)
        self._change(record, state)
        if state == "completed":  # a stopped trial may still be writing its last; `seal` removes those
            self._journal.storage.remove(checkpoint_prefix(number))

    def requeue(self, number: int) -> None:
        """The trial's process was lost: it starts again from its checkpoint."""
        self._change(self.records[number], "queued")

    def interrupt(self) -> None:
        """Leave every unfinished trial queued, with all that it has reported."""
        for record in self.waiting():
            self._change(record, "queued")

    def score(self, number: int, report: Report | None = None) -> float | None:
        """The first objective of the trial if it ended now: that of its best epoch so far."""
        earlier = [known for known in self.records[number].reports if report is None or known.epoch < report.epoch]
        return score_of([*earlier, *([report] if report else [])], self.metric, self.search.objectives[0].metric)

    def _change(self, record: TrialRecord, state: TrialState) -> None:
        record.state = state
        self._write(record)
        self._observer.trial_changed(record)

    def _write(self, record: TrialRecord) -> None:
        self._journal.write(record)
        self._written[record.number] = time.monotonic()


class _Absent:
    """What stands in a pickle for what must not be in it."""
