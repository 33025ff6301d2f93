"""Turns spooled events into runs. Applying the same events again, in whole or in part, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from orchestrator.events import ModelRow, Report, TrialRecord
from orchestrator.tracking.faults import brief, permanent
from orchestrator.tracking.info import (
    EPOCHS,
    FILE,
    MODELS,
    NOTE,
    OWNER,
    REASON,
    ROLE,
    SINCE,
    STAND_IN,
    STATE,
    STOP_REASON,
    TABLES,
    SweepInfo,
    flatten,
    stand_in_line,
)
from orchestrator.tracking.metrics import model_metrics, summary_metrics
from orchestrator.tracking.runs import Handle, Runs, text
from orchestrator.tracking.spool import Event
from trainables.storage import sha256

_STATUS = {"completed": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}

Mode = Literal["live", "replay", "again"]
"""Whose events they are: this driver's; those that an earlier driver left, which a later one may have overtaken; or
those made of what is stored, which is how it ended."""


class Writer:
    """Applies the events of one segment; `refused` hears of what MLflow will never take."""

    def __init__(
        self, client: Any, header: Event, files: Path, refused: Callable[[str], None], mode: Mode = "live"
    ) -> None:
        self.info = SweepInfo.model_validate(header["info"])
        self._owner, self._since = str(header["owner"]), int(header.get("t", 0))
        self._client, self._files, self._refused, self._mode = client, files, refused, mode
        self._runs: Runs | None = None

    @property
    def runs(self) -> Runs:
        if self._runs is None:
            i = self.info
            self._runs = Runs(self._client, i.experiment, i.sweep, i.artifact_location)
        return self._runs

    def apply(self, events: Iterable[Event]) -> None:
        """All of them, or an exception after which all of them are to be given again."""
        try:
            for event in _newest(events):
                self._one(event)
            for handle in list(self.runs.index.values()):
                if handle.points:
                    self._guarded(partial(self.runs.flush, handle))
        except Exception:
            # The server may have done what it did not confirm: look again before making any run.
            self._runs = None
            raise

    def _one(self, event: Event) -> None:
        apply = getattr(self, f"_{event['kind']}", None)
        if apply is not None:
            self._guarded(lambda: apply(event))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            if not permanent(error):
                raise
            self._refused(brief(error))

    def _mine(self, handle: Handle) -> bool:
        """Whether these events have the last word on the run: not where a later driver has written it since."""
        return self._mode != "replay" or handle.tags.get(OWNER) == self._owner or not self._overtaken()

    def _overtaken(self) -> bool:
        parent = self.runs.get("sweep", self.info.sweep)
        if parent is None or parent.tags.get(OWNER) == self._owner:
            return False
        return int(parent.tags.get(SINCE, "0")) > self._since

    def _sweep(self, event: Event) -> None:
        info, handle = self.info, self.runs.get("sweep", self.info.sweep)
        tags = {k if "." in k else f"orch.{k}": v for k, v in info.tags.items()}
        tags |= {NOTE: f"{stand_in_line(info.stand_in)}\n\n{info.claim}", ROLE: "sweep", **self._common()}
        driven = {STATE: "running", STOP_REASON: "", OWNER: self._owner, SINCE: str(self._since)}
        if handle is None:
            handle = self.runs.ensure("sweep", info.sweep, event["t"], {**tags, **driven})
        elif self._mode == "again" or not self._mine(handle):
            self.runs.write(handle, tags={k: v for k, v in tags.items() if k not in handle.tags})
        else:
            if self._mode == "live":  # whatever the clock of the driver before us showed
                later = int(handle.tags.get(SINCE, "0")) + (handle.tags.get(OWNER) != self._owner)
                driven[SINCE] = str(max(self._since, later))
            self.runs.running(handle)
            self.runs.write(handle, tags={**tags, **driven})
        self.runs.write(handle, params=flatten(info.params))
        self._inputs(handle)

    def _inputs(self, handle: Handle) -> None:
        new = [i for i in self.info.inputs if (i.name, i.digest[:36]) not in handle.inputs]
        if new:
            from orchestrator.tracking.artifacts import dataset_inputs

            self._client.log_inputs(handle.run_id, datasets=dataset_inputs(new))
            handle.inputs |= {(i.name, i.digest[:36]) for i in new}

    def _trial(self, event: Event) -> None:
        trial = TrialRecord.model_validate(event["trial"])
        handle = self.runs.get("trial", trial.name)
        if handle is not None and not self._mine(handle):
            self._curves(handle, trial, event["t"])
            return
        if self._mode == "again" and not trial.finished:
            self._left(trial, event)
            return
        if trial.state == "queued":
            if handle is not None and handle.status == "RUNNING":
                self._end(handle, "KILLED", event["t"], {STATE: "queued", STOP_REASON: "interrupted"})
            return
        handle = self._trial_run(trial, event["t"])
        self._curves(handle, trial, event["t"])
        params = {**flatten(trial.params), **event.get("params", {})}
        tags = {STATE: trial.state, REASON: trial.reason}
        if trial.state == "running":
            self.runs.running(handle)
            self.runs.write(handle, params=params, tags={**tags, STOP_REASON: ""})
            return
        self.runs.flush(handle)
        end = _ms(trial.ended) or event["t"]
        tags[STOP_REASON] = trial.reason or "scheduler" if trial.state == "pruned" else ""
        tags[EPOCHS] = str(len(trial.reports))
        values = summary_metrics(trial, self.info)
        self.runs.summary(handle, values, trial.epochs, end, params=params, tags=tags)
        self.runs.ended(handle, _STATUS[trial.state], end)

    def _left(self, trial: TrialRecord, event: Event) -> None:
        """A trial that nobody goes on with at present: all that it reported, and no run left open."""
        handle = self.runs.get("trial", trial.name)
        if handle is None and not trial.started:
            return
        handle = handle or self._trial_run(trial, event["t"])
        self._curves(handle, trial, event["t"])
        self.runs.write(handle, params={**flatten(trial.params), **event.get("params", {})})
        if handle.status == "RUNNING":
            last = trial.reports[-1].at if trial.reports else trial.started
            self._end(handle, "KILLED", _ms(last), {STATE: "queued", STOP_REASON: "interrupted"})

    def _trial_run(self, trial: TrialRecord, time: int) -> Handle:
        tags = {ROLE: trial.role, "orch.attempts": str(trial.attempts), **self._common()}
        return self._run("trial", trial.name, _ms(trial.started) or time, tags)

    def _run(self, kind: Literal["trial", "model"], name: str, start: int, tags: dict[str, str]) -> Handle:
        """The run, owned by whoever goes on with it; what is sent again leaves the owner that it has."""
        owner = {OWNER: self._owner}
        if self._mode == "again":
            return self.runs.ensure(kind, name, start, tags, first=owner)
        return self.runs.ensure(kind, name, start, {**tags, **owner})

    def _curves(self, handle: Handle, trial: TrialRecord, time: int) -> None:
        if trial.finished and handle.tags.get(EPOCHS) == str(len(trial.reports)):
            return
        for report in trial.reports:
            self._curve(handle, report, _ms(report.at) or _ms(trial.ended) or time)

    def _curve(self, handle: Handle, report: Report, time: int) -> None:
        self.runs.curve(handle, report.epoch, report.metrics, time)

    def _report(self, event: Event) -> None:
        handle, report = self.runs.get("trial", event["name"]), Report.model_validate(event["report"])
        if handle is None:
            tags = {ROLE: event["role"], STATE: "running", **self._common()}
            handle = self._run("trial", event["name"], event["started"] or event["t"], tags)
        self._curve(handle, report, _ms(report.at) or event["t"])

    def _model(self, event: Event) -> None:
        row = ModelRow.model_validate(event["row"])
        tags = {ROLE: row.role, STATE: "completed", MODELS: " ".join(row.models), **self._common()}
        if row.trial is not None:
            tags["orch.of_trial"] = f"trial-{row.trial:04d}"
        tags["orch.seeds"] = " ".join(map(str, row.seeds))
        handle = self.runs.get("model", row.name)
        if handle is not None and not self._mine(handle):
            return
        if handle is not None and handle.tags.get(MODELS, "") != text(tags[MODELS], 5000):
            self.runs.supersede("model", row.name)  # parameters can never change, and these are another model's
        handle = self._run("model", row.name, event.get("started") or event["t"], tags)
        self.runs.summary(handle, model_metrics(row), 0, event["t"], params=flatten(row.params))
        self.runs.ended(handle, "FINISHED", event["t"])

    def _stage(self, event: Event) -> None:
        handle, tag = self._parent(), f"orch.stage.{event['stage']}"
        if not self._mine(handle) or (self._mode == "again" and tag in handle.tags):
            return
        values = {f"stage/{event['stage']}/seconds": round(event["seconds"], 2)} if "seconds" in event else {}
        self.runs.summary(handle, values, 0, event["t"], tags={tag: event["note"]})

    def _note(self, event: Event) -> None:
        handle = self._parent()
        if self._mine(handle):
            self.runs.write(handle, tags={NOTE: event["text"]})

    def _artifact(self, event: Event) -> None:
        parent, path = self._parent(), self._files / event["file"]
        if event.get("table") and self._mine(parent):
            known = json.loads(parent.tags.get(TABLES, "[]"))
            own = {"path": path.name, "type": "table"}
            self.runs.write(parent, tags={TABLES: json.dumps([*known, *([own] if own not in known else [])])})
        place = f"{event['under']}/{path.name}" if event["under"] else path.name
        digest, tag = sha256(path), FILE + place
        if tag in parent.tags and (not self._mine(parent) or self._there(parent, event["under"], path, digest)):
            return
        self._client.log_artifact(parent.run_id, str(path), event["under"] or None)
        self.runs.write(parent, tags={tag: digest})

    def _there(self, parent: Handle, under: str, path: Path, digest: str) -> bool:
        """Whether the store has this very file already: its checksum was noted, and it lies there in its size."""
        place = f"{under}/{path.name}" if under else path.name
        if parent.tags[FILE + place] != digest:
            return False
        listed = self._client.list_artifacts(parent.run_id, under or None)
        return any(one.path == place and one.file_size == path.stat().st_size for one in listed)

    def _logged_model(self, event: Event) -> None:
        from orchestrator.tracking.artifacts import log_student

        handle = self.runs.get("model", event["row"]) or self._parent()
        if self._mine(handle):
            log_student(self._client, self.runs.experiment_id, handle.run_id, self._files / event["file"], event)

    def _close(self, event: Event) -> None:
        parent, status = self._parent(), event["status"]
        if not self._mine(parent):
            return
        for handle in list(self.runs.index.values()):
            if handle is not parent and handle.status == "RUNNING":
                self._end(handle, "KILLED", event["t"], {STATE: "interrupted", STOP_REASON: event["reason"]})
        if self._mode == "again" and status != "FINISHED" and parent.status != "RUNNING":
            return  # it has been told how it ended
        state = {"FINISHED": "completed", "KILLED": "interrupted"}.get(status, "failed")
        killed = {STOP_REASON: event["reason"]}
        reason = killed if status == "KILLED" else {REASON: event["reason"], STOP_REASON: ""}
        self._end(parent, status, event["t"], {STATE: state, **reason})

    def _end(self, handle: Handle, status: str, time: int, tags: dict[str, str]) -> None:
        self.runs.flush(handle, tags=tags)
        self.runs.ended(handle, status, time)

    def _parent(self) -> Handle:
        handle = self.runs.get("sweep", self.info.sweep)
        if handle is None:
            raise LookupError(f"the run of {self.info.sweep} is gone from MLflow")
        return handle

    def _common(self) -> dict[str, str]:
        return {STAND_IN: str(self.info.stand_in).lower()}


def _newest(events: Iterable[Event]) -> list[Event]:
    """Without the states of a trial that a later event of the same batch replaces; their parameters are kept."""
    events = list(events)
    trials = [(i, e["trial"]["number"]) for i, e in enumerate(events) if e.get("kind") == "trial"]
    last = {number: i for i, number in trials}
    params: dict[int, dict[str, str]] = {}
    for i, number in trials:
        params.setdefault(number, {}).update(events[i].get("params", {}))
    kept = []
    for i, event in enumerate(events):
        if event.get("kind") != "trial":
            kept.append(event)
        elif last[event["trial"]["number"]] == i:
            kept.append({**event, "params": params[event["trial"]["number"]]})
    return kept


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
