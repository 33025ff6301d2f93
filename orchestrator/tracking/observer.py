"""The sweep as MLflow shows it. Calls only append to a spool; one background thread speaks to MLflow.

Nothing here raises into the sweep. A server that is away costs a message at the beginning and one at the end: what
it missed waits in the spool and is sent when it is back, or by the next start.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from pydantic import BaseModel

from orchestrator.errors import Interrupted
from orchestrator.events import ModelRow, Observer, Report, StageName, TrialRecord
from orchestrator.owner import Owner
from orchestrator.tracking.client import shown
from orchestrator.tracking.courier import Courier
from orchestrator.tracking.faults import brief, scrubbed
from orchestrator.tracking.info import SweepInfo, flatten
from orchestrator.tracking.note import sweep_note
from orchestrator.tracking.spool import Event, Segment, store_key

Level = Literal["info", "warning"]
Status = Literal["FINISHED", "KILLED", "FAILED"]
Resolve = Callable[[TrialRecord], BaseModel | Mapping[str, Any]]


class MlflowObserver(Observer):
    """Writes the sweep `info` to the store at `uri`, through a spool in the local folder `spool`.

    say: shows a text to the user; called in the driver's own thread, from within the calls made here.
    resolve: the full RunSpec of a trial, whose fields become its parameters `run.<path>`.
    alive: names of runs (`trial-0007`) that reconciling at the start leaves open.
    holds: whether this process holds the sweep: what any lost driver of it left open, wherever it ran, is closed.
    Runs left open by killed drivers are closed, and what they spooled is sent, before anything of this sweep.
    """

    def __init__(
        self,
        info: SweepInfo,
        *,
        uri: str,
        spool: Path,
        say: Callable[[str, Level], None] = lambda text, level: None,
        resolve: Resolve | None = None,
        alive: Sequence[str] = (),
        holds: bool = True,
        every: float = 2.0,
        retry: tuple[float, float] = (1.0, 60.0),
    ) -> None:
        self.info, self.uri = info, uri
        self._say, self._resolve = say, resolve
        self._rows: dict[str, ModelRow] = {}
        self._resolved: set[int] = set()
        self._ended: set[int] = set()
        """Trials of whose end this process has told."""
        self._closed = False
        self._segment: Segment | None = None
        self._courier: Courier | None = None
        try:
            self._segment = Segment.create(spool, info.sweep)
        except OSError as error:
            say(f"MLflow is not written: the spool {spool} cannot be ({brief(error)})", "warning")
            return
        # A process may drive one sweep after another: each life has a mark of its own.
        owner = json.dumps({**Owner.me().model_dump(), "life": self._segment.path.stem})
        self._emit("sweep", store=store_key(uri), owner=owner, info=info.model_dump(mode="json"), say_later=True)
        self._courier = Courier(uri, self._segment, info.sweep, holds=holds, alive=alive, every=every, retry=retry)
        self._courier.start()

    def trial_changed(self, trial: TrialRecord) -> None:
        params: dict[str, str] = {}
        if trial.number not in self._resolved and self._resolve is not None and trial.state != "queued":
            params = self._full(self._resolve, trial)
            self._resolved.add(trial.number)
        (self._ended.add if trial.finished else self._ended.discard)(trial.number)
        told = trial.model_copy(update={"reason": scrubbed(trial.reason)})
        self._emit("trial", trial=told.model_dump(), params=params)

    def trial_stored(self, trial: TrialRecord) -> None:
        """A finished trial of the journal: told unless its end was, for another driver may have been lost with what
        it had not sent of it."""
        if trial.number not in self._ended:
            self.trial_changed(trial)

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        started = int(trial.started * 1000)
        self._emit("report", name=trial.name, role=trial.role, started=started, report=report.model_dump())

    def model_confirmed(self, row: ModelRow) -> None:
        self._rows[row.name] = row
        self._emit("model", row=row.model_dump())

    def stage_skipped(self, stage: StageName, why: str) -> None:
        self._emit("stage", stage=stage, note=f"skipped: {why}")

    def stage_finished(self, stage: StageName, seconds: float, note: str) -> None:
        self._emit("stage", stage=stage, note=note or "done", seconds=seconds)

    def artifact(self, path: Path, under: str = "") -> None:
        """Store a copy of a file (`trials.parquet`, ...) with the parent run, in the folder `under`."""
        self._keep(path, "artifact", under=under)

    def table(self, path: Path) -> None:
        """The same for a JSON file of `columns` and `data`, which the UI then shows as a table."""
        self._keep(path, "artifact", under="", table=True)

    def model(self, folder: Path, row: str) -> None:
        """Show an exported student (see `artifacts.log_student`) as the MLflow model of the confirmed row `row`."""
        self._keep(folder, "logged_model", row=row, name=f"{self.info.sweep}-{row}", stand_in=self.info.stand_in)

    def close(self, status: Status = "FINISHED", reason: str = "", *, seconds: float = 20.0) -> bool:
        """End the parent and every run still open; wait at most `seconds`. True if nothing remains to be sent."""
        if self._closed or self._segment is None or self._courier is None:
            return True
        if self._rows:
            self._emit("note", text=sweep_note(self.info, list(self._rows.values())))
        self._emit("close", status=status, reason=scrubbed(reason))
        self._closed = True
        sent = self._courier.finish(seconds)
        self._tell()
        if not sent:
            left = self._segment.remaining()
            where = self._segment.path.parent
            self._say(
                f"{left} events for MLflow at {shown(self.uri)} wait in {where}; the next start sends them",
                "warning",
            )
        return sent

    def leave(self) -> None:
        """Send no more. What is left in the spool only fills gaps when the next start sends it, as whoever drives
        the sweep now writes the same runs."""
        if not self._closed and self._courier is not None:
            self._closed = True
            self._courier.leave()

    @property
    def busy_seconds(self) -> float:
        """Processor time that the background thread has taken, its import of MLflow included."""
        return self._courier.busy_seconds if self._courier else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, (Interrupted, KeyboardInterrupt)):
            self.close("KILLED", "interrupted")
        else:
            self.close("FAILED", f"{type(error).__name__}: {brief(error)}" if str(error) else type(error).__name__)

    def _full(self, resolve: Resolve, trial: TrialRecord) -> dict[str, str]:
        try:
            return run_params(resolve(trial))
        except Exception as error:
            self._say(f"MLflow: {trial.name} is shown without its full parameters ({brief(error)})", "warning")
            return {}

    def _keep(self, path: Path, kind: str, **fields: Any) -> None:
        if self._segment is None or self._closed:
            return
        try:
            self._emit(kind, file=self._segment.keep(path), **fields)
        except OSError as error:
            self._say(f"MLflow: {path.name} is not shown ({brief(error)})", "warning")

    def _emit(self, kind: str, *, say_later: bool = False, **fields: Any) -> None:
        if self._segment is None or self._closed:
            return
        event: Event = {"kind": kind, "t": int(time.time() * 1000), **fields}
        try:
            self._segment.append(event)
        except OSError as error:
            self._say(f"MLflow: the spool cannot be written ({brief(error)}); what follows is not shown", "warning")
            self._closed = True
        if not say_later:
            self._tell()

    def _tell(self) -> None:
        """Pass on what the thread had to say; here, because observers and displays live in the driver's thread."""
        for text, level in self._courier.messages() if self._courier else []:
            self._say(text, level)


def run_params(run: BaseModel | Mapping[str, Any]) -> dict[str, str]:
    """The fields of a RunSpec as parameters `run.<path>`."""
    return flatten(run.model_dump(mode="json") if isinstance(run, BaseModel) else run, "run.")
