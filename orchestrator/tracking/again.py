"""Sends a whole sweep from what is stored of it: what MLflow has is left as it is, what it misses is added."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import SettingsError
from orchestrator.events import ModelRow, StageName, TrialRecord
from orchestrator.owner import Owner
from orchestrator.tracking.client import connect, shown, unusable, wait_longer
from orchestrator.tracking.faults import lasting, scrubbed, timed_out, told
from orchestrator.tracking.info import SweepInfo
from orchestrator.tracking.note import sweep_note
from orchestrator.tracking.observer import Level, Resolve, run_params
from orchestrator.tracking.reconcile import close_stale
from orchestrator.tracking.recovery import Recovery
from orchestrator.tracking.spool import Event
from orchestrator.tracking.writer import Writer
from trainables.errors import MachineError

PATIENCE = 120.0
"""Seconds that are waited in all for a store that is away."""
_BATCH = 200
"""Most events after which the store must have confirmed."""


@dataclass(frozen=True)
class StoredModel:
    """A row of the leaderboard; times in seconds since 1970."""

    row: ModelRow
    started: float
    ended: float


@dataclass(frozen=True)
class StoredSweep:
    """What the storage holds of a sweep; times in seconds since 1970."""

    info: SweepInfo
    trials: Sequence[TrialRecord]
    started: float
    ended: float
    finished: bool
    """Whether it has been confirmed, with nothing left to run."""
    held: bool = True
    """Whether this process holds the sweep; else its driver lives, and shows by itself what is not finished."""
    models: Sequence[StoredModel] = ()
    stages: Mapping[StageName, tuple[str, float | None]] = field(default_factory=dict)
    """What each says of itself, and the seconds that it took unless it was skipped."""
    files: Sequence[Path] = ()
    tables: Sequence[Path] = ()
    """JSON files that the UI shows as tables."""
    student: tuple[Path, str] | None = None
    """The folder of the best exported student, and the row that it is of."""


def send_again(
    stored: StoredSweep,
    *,
    uri: str,
    spool: Path,
    resolve: Resolve,
    say: Callable[[str, Level], None],
) -> list[str]:
    """Bring the store at `uri` to show the sweep whole; returns what it refused. A second time changes nothing.

    What earlier drivers left in `spool` is sent before. Raises SettingsError where only a person can mend the
    store, MachineError where it has been away for PATIENCE seconds; what was sent until then stays.
    """
    refused: list[str] = []
    line = _Line(uri, PATIENCE, say)
    client = line.persist(lambda: connect(uri))
    line.persist(lambda: Recovery(spool, uri, refused.append).send(client))
    sweep = stored.info.sweep if stored.held else None
    line.persist(lambda: close_stale(client, sweep, reopens=True))
    events = list(_events(stored, resolve))
    header = {"info": stored.info, "owner": Owner.me().model_dump_json(), "t": _ms(stored.ended)}
    writer = Writer(client, header, Path("/"), refused.append, "again")
    for start in range(0, len(events), _BATCH):
        batch = events[start : start + _BATCH]
        line.persist(lambda batch=batch: writer.apply(batch))  # type: ignore[misc]
    return list(dict.fromkeys(refused))


def _events(stored: StoredSweep, resolve: Resolve) -> Iterator[Event]:
    """As a driver would have told them, each at its own time."""
    began, ended = _ms(stored.started), _ms(stored.ended)
    yield {"kind": "sweep", "t": began}
    for stage, (note, seconds) in stored.stages.items():
        yield {"kind": "stage", "t": ended, "stage": stage, "note": note} | (
            {} if seconds is None else {"seconds": seconds}
        )
    for trial in stored.trials:
        if trial.finished or stored.held:
            record = trial.model_copy(update={"reason": scrubbed(trial.reason)}).model_dump()
            yield {
                "kind": "trial",
                "t": _ms(trial.ended) or began,
                "trial": record,
                "params": _params(resolve, trial),
            }
    for model in stored.models:
        row = model.row.model_dump()
        yield {"kind": "model", "t": _ms(model.ended), "started": _ms(model.started), "row": row}
    if stored.models:
        yield {"kind": "note", "t": ended, "text": sweep_note(stored.info, [model.row for model in stored.models])}
    for path in (*stored.files, *stored.tables):
        yield {"kind": "artifact", "t": ended, "file": str(path), "under": "", "table": path in stored.tables}
    if stored.student is not None:
        folder, row_name = stored.student
        name = f"{stored.info.sweep}-{row_name}"
        given: Event = {"row": row_name, "name": name, "stand_in": stored.info.stand_in}
        yield {"kind": "logged_model", "t": ended, "file": str(folder), **given}
    if stored.held:
        status, reason = ("FINISHED", "") if stored.finished else ("KILLED", "interrupted")
        yield {"kind": "close", "t": ended, "status": status, "reason": reason}


def _params(resolve: Resolve, trial: TrialRecord) -> dict[str, str]:
    try:
        return run_params(resolve(trial))
    except Exception:  # of an experiment that has changed since; its searched values are shown all the same
        return {}


class _Line:
    """Repeats what fails, with growing waits, as long as it may help."""

    def __init__(self, uri: str, patience: float, say: Callable[[str, Level], None]) -> None:
        self._uri, self._patience, self._say = uri, patience, say
        self._said = False

    def persist(self, call: Callable[[], Any]) -> Any:
        left, wait = self._patience, 0.5
        while True:
            try:
                return call()
            except Exception as error:
                self._lost(error, left < wait)
            time.sleep(wait)
            left, wait = left - wait, min(2 * wait, 15.0)

    def _lost(self, error: Exception, over: bool) -> None:
        if lasting(error):
            raise SettingsError(unusable(error, self._uri)) from error
        if over:
            raise MachineError(
                f"{unusable(error, self._uri)}; what was sent stays there, and the same command sends the rest"
            ) from error
        if timed_out(error):
            wait_longer()
        if not self._said:
            self._said = True
            self._say(f"MLflow at {shown(self._uri)}: {told(error, self._uri)}; trying again", "warning")


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
