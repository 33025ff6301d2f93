"""What the driver knows of a sweep's trials: the journal's records in memory, and the only writer of them.

The searcher takes its next trial from it, the scheduler its scores, the Tune callback tells it what happened. It
passes every change to the observer at once and to the journal at every change of state, in between at most every
`WRITE_SECONDS` a trial, so that an object store sees a handful of writes a trial.

An attempt that the machine ended (a lost process, a full disk) is no result: the trial is queued again, and one
that was lost too often fails as the machine's, to be tried again by the next call. Where one attempt after another
is lost and no trial gets anywhere, the sweep ends instead of failing them all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from orchestrator.events import Observer, Report, TrialRecord, TrialState
from orchestrator.experiment import SearchSpec
from orchestrator.journal import Journal, checkpoint_prefix
from orchestrator.launch.error_lines import first_line
from orchestrator.launch.losses import Loss
from orchestrator.scores import score_of, values_at
from trainables.errors import MachineError, OrchError

WRITE_SECONDS = 5.0
LOST_ATTEMPTS = 2
"""How often a trial whose attempt was lost is started again before it counts as failed; from the beginning where it
has come further than before."""
WAIT_SECONDS = 10.0
"""Before an attempt after a failure that may still be there; twice as long after the next."""


class Ledger:
    """Made from the journal; trials that a killed driver left running, and those that the machine made fail, are
    queued again under their numbers.

    `losses_in_a_row`: after so many lost attempts without an epoch of any trial in between, the sweep ends.
    """

    def __init__(
        self,
        journal: Journal,
        observer: Observer,
        search: SearchSpec,
        metric: str,
        *,
        losses_in_a_row: int = 8,
    ) -> None:
        self.records: dict[int, TrialRecord] = {}
        self.reasons: dict[int, str] = {}
        """Why the scheduler has decided to stop a trial, until it has stopped."""
        self.closing = False
        """Whether no trial is to be started any more, and the running ones are to end."""
        self.fault: OrchError | None = None
        """Why the sweep must end, where that is not the user's wish."""
        self.search, self.metric = search, metric
        self._journal, self._observer = journal, observer
        self._written: dict[int, float] = {}
        self._writable = True
        self._losses: dict[int, int] = {}
        self._lost_at: dict[int, int] = {}
        """The furthest epoch after which each trial was lost."""
        self._not_before: dict[int, float] = {}
        self._in_a_row, self._most_in_a_row = 0, losses_in_a_row
        for record in journal.read():
            self.records[record.number] = record
        for record in self.ordered():
            if not record.settled:
                record.reason, record.machine, record.ended = "", False, 0.0
                self._change(record, "queued")

    def __reduce__(self) -> tuple[type[_Absent], tuple[()]]:
        """Tune pickles what it is given into its run folder, which nobody reads: nothing of ours goes there."""
        return _Absent, ()

    def waiting(self) -> list[TrialRecord]:
        """Trials without an end, by number."""
        return [record for record in self.ordered() if not record.finished]

    def ready(self) -> list[TrialRecord]:
        """Those of them that need not wait any longer."""
        now = time.monotonic()
        return [record for record in self.waiting() if self._not_before.get(record.number, now) <= now]

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
            self._in_a_row = 0
            if report.epoch > self._lost_at.get(number, report.epoch):
                self._losses.pop(number, None)
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
        self,
        number: int,
        state: TrialState,
        reason: str = "",
        values: dict[str, float] | None = None,
        *,
        machine: bool = False,
    ) -> None:
        """End a trial. Without `values` (a stopped one) those of its best epoch are taken from its reports."""
        record = self.records[number]
        if record.finished:
            return
        last = record.reports[-1].at if record.reports else 0.0
        record.reason, record.machine = reason, machine
        record.ended = max(time.time(), record.started, last)
        if state != "failed":
            names = [objective.metric for objective in self.search.objectives]
            record.values = values or values_at(record.reports, self.metric, names)
        self._change(record, state)
        if state == "completed":  # a stopped trial may still be writing its last; `seal` removes those
            self._journal.storage.remove(checkpoint_prefix(number))

    def lose(self, number: int, loss: Loss) -> None:
        """An attempt has ended without a result: the trial starts again from its checkpoint, or has failed."""
        if self.records[number].finished:  # it had told its end before
            return
        self._in_a_row += 1
        losses = self._losses[number] = self._losses.get(number, 0) + loss.counts
        self._lost_at[number] = max(self._lost_at.get(number, 0), self.records[number].epochs)
        if losses > LOST_ATTEMPTS:
            self.finish(number, "failed", f"{loss.reason} ({losses} times)", machine=loss.machine)
        else:
            if loss.wait:
                self._not_before[number] = time.monotonic() + WAIT_SECONDS * 2 ** (losses - 1)
            self._change(self.records[number], "queued")
            self._observer.message(f"{self.records[number].name}: {loss.reason}; it is started again", "warning")
        if self._in_a_row >= self._most_in_a_row:
            self.closing = True
            self.fault = MachineError(
                f"{self._in_a_row} attempts of trials in a row were lost, the last one: {loss.reason}; everything "
                "finished is kept, and once that is mended the same command goes on"
            )

    def interrupt(self) -> None:
        """Leave every unfinished trial queued, with all that it has reported, where that can be written."""
        for record in self.waiting() if self._writable else ():
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
        try:
            self._journal.write(record)
        except (OrchError, OSError) as error:  # Tune would pass it on as a traceback
            self._writable = False
            self.fault = error if isinstance(error, OrchError) else MachineError(first_line(error))
            raise self.fault from error
        self._written[record.number] = time.monotonic()


class _Absent:
    """What stands in a pickle for what must not be in it."""
