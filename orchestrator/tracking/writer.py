"""Turns spooled events into runs. Applying the same events again, in whole or in part, changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from orchestrator.events import ModelRow, Report, TrialRecord
from orchestrator.scores import by_fold
from orchestrator.tracking.client import brief, permanent
from orchestrator.tracking.info import (
    NOTE,
    OWNER,
    REASON,
    ROLE,
    STAND_IN,
    STATE,
    STOP_REASON,
    TABLES,
    SweepInfo,
    flatten,
    stand_in_line,
)
from orchestrator.tracking.runs import Handle, Runs
from orchestrator.tracking.spool import Event

_STATUS = {"completed": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Writer:
    """Applies the events of one segment; `refused` hears of what MLflow will never take."""

    def __init__(self, client: Any, header: Event, files: Path, refused: Callable[[str], None]) -> None:
        self.info = SweepInfo.model_validate(header["info"])
        self._owner = str(header["owner"])
        self._client, self._files, self._refused = client, files, refused
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

    def _sweep(self, event: Event) -> None:
        info = self.info
        tags = {k if "." in k else f"orch.{k}": v for k, v in info.tags.items()}
        note = f"{stand_in_line(info.stand_in)}\n\n{info.claim}"
        tags |= {STATE: "running", ROLE: "sweep", **self._common()}
        handle = self.runs.ensure("sweep", info.sweep, event["t"], tags)
        self.runs.running(handle)
        self.runs.write(handle, params=flatten(info.params), tags={STOP_REASON: "", NOTE: note})
        self._inputs(handle)

    def _inputs(self, handle: Handle) -> None:
        new = [i for i in self.info.inputs if (i.name, i.digest) not in handle.inputs]
        if new:
            from orchestrator.tracking.artifacts import dataset_inputs

            self._client.log_inputs(handle.run_id, datasets=dataset_inputs(new))
            handle.inputs |= {(i.name, i.digest) for i in new}

    def _trial(self, event: Event) -> None:
        trial = TrialRecord.model_validate(event["trial"])
        handle = self.runs.get("trial", trial.name)
        if trial.state == "queued":
            if handle is not None and handle.status == "RUNNING":
                self._end(handle, "KILLED", event["t"], {STATE: "queued", STOP_REASON: "interrupted"})
            return
        handle = self.runs.ensure("trial", trial.name, _ms(trial.started) or event["t"], self._trial_tags(trial))
        for report in trial.reports:
            self._curve(handle, report, _ms(trial.ended) or event["t"])
        params = {**flatten(trial.params), **event.get("params", {})}
        tags = {STATE: trial.state, REASON: trial.reason}
        if trial.state == "running":
            self.runs.running(handle)
            self.runs.write(handle, params=params, tags={**tags, STOP_REASON: ""})
            return
        self.runs.flush(handle)
        end = _ms(trial.ended) or event["t"]
        stop = trial.reason or "scheduler" if trial.state == "pruned" else ""
        values = summary_metrics(trial, self.info)
        self.runs.summary(handle, values, trial.epochs, end, params=params, tags={**tags, STOP_REASON: stop})
        self.runs.ended(handle, _STATUS[trial.state], end)

    def _report(self, event: Event) -> None:
        handle = self.runs.get("trial", event["name"])
        if handle is None:
            tags = {ROLE: event["role"], STATE: "running", **self._common()}
            handle = self.runs.ensure("trial", event["name"], event["started"] or event["t"], tags)
        self._curve(handle, Report.model_validate(event["report"]), event["t"])

    def _curve(self, handle: Handle, report: Report, time: int) -> None:
        self.runs.curve(handle, report.epoch, report.metrics, time)

    def _model(self, event: Event) -> None:
        row = ModelRow.model_validate(event["row"])
        tags = {ROLE: row.role, STATE: "completed", "orch.models": " ".join(row.models), **self._common()}
        if row.trial is not None:
            tags["orch.of_trial"] = f"trial-{row.trial:04d}"
        tags["orch.seeds"] = " ".join(map(str, row.seeds))
        handle = self.runs.ensure("model", row.name, event["t"], tags)
        self.runs.summary(handle, model_metrics(row), 0, event["t"], params=flatten(row.params))
        self.runs.ended(handle, "FINISHED", event["t"])

    def _stage(self, event: Event) -> None:
        handle = self._parent()
        tags = {f"orch.stage.{event['stage']}": event["note"]}
        values = {f"stage/{event['stage']}/seconds": event["seconds"]} if "seconds" in event else {}
        self.runs.summary(handle, values, 0, event["t"], tags=tags)

    def _note(self, event: Event) -> None:
        self.runs.write(self._parent(), tags={NOTE: event["text"]})

    def _artifact(self, event: Event) -> None:
        parent, path = self._parent(), self._files / event["file"]
        self._client.log_artifact(parent.run_id, str(path), event["under"] or None)
        if event.get("table"):
            known = json.loads(parent.tags.get(TABLES, "[]"))
            own = {"path": path.name, "type": "table"}
            self.runs.write(parent, tags={TABLES: json.dumps([*known, *([own] if own not in known else [])])})

    def _logged_model(self, event: Event) -> None:
        from orchestrator.tracking.artifacts import log_student

        handle = self.runs.get("model", event["row"]) or self._parent()
        log_student(self._client, self.runs.experiment_id, handle.run_id, self._files / event["file"], event)

    def _close(self, event: Event) -> None:
        parent = self._parent()
        for handle in list(self.runs.index.values()):
            if handle is not parent and handle.status == "RUNNING":
                self._end(handle, "KILLED", event["t"], {STATE: "interrupted", STOP_REASON: event["reason"]})
        state = {"FINISHED": "completed", "KILLED": "interrupted"}.get(event["status"], "failed")
        stop = {STOP_REASON: event["reason"]} if event["status"] == "KILLED" else {REASON: event["reason"]}
        self._end(parent, event["status"], event["t"], {STATE: state, **stop})

    def _end(self, handle: Handle, status: str, time: int, tags: dict[str, str]) -> None:
        self.runs.flush(handle, tags=tags)
        self.runs.ended(handle, status, time)

    def _parent(self) -> Handle:
        handle = self.runs.get("sweep", self.info.sweep)
        if handle is None:
            raise LookupError(f"the run of {self.info.sweep} is gone from MLflow")
        return handle

    def _common(self) -> dict[str, str]:
        return {OWNER: self._owner, STAND_IN: str(self.info.stand_in).lower()}

    def _trial_tags(self, trial: TrialRecord) -> dict[str, str]:
        return {ROLE: trial.role, "orch.attempts": str(trial.attempts), **self._common()}


def summary_metrics(trial: TrialRecord, info: SweepInfo) -> dict[str, float]:
    """`final/<m>` of the last epoch, `best/<m>` of the best, `objective/<name>`: the same keys in all trials.

    Over folds, `fold/<k>/dev/<m>` is of the best epoch of each and `best/dev/<m>` their mean.
    """
    values = {f"objective/{k}": v for k, v in trial.values.items()}
    if not trial.reports:
        return values
    values |= {f"final/{k}": v for k, v in trial.reports[-1].metrics.items()}
    folds = by_fold(trial.reports)
    best = {fold: one for fold, reports in folds.items() if (one := _best(reports, info)) is not None}
    for fold, one in best.items():
        values |= {f"fold/{fold}/{k}": v for k, v in one.metrics.items() if k.startswith("dev/")}
    for name in {name for one in best.values() for name in one.metrics if name.startswith("dev/")}:
        values[f"best/{name}"] = fmean(one.metrics[name] for one in best.values() if name in one.metrics)
    whole = None if folds else _best(trial.reports, info)
    if whole is not None:
        values |= {f"best/{k}": v for k, v in whole.metrics.items()} | {"best/epoch": float(whole.epoch)}
    return values


def _best(reports: list[Report], info: SweepInfo) -> Report | None:
    """By the first objective that epochs report; those of phase 0 (representation) have no score that counts."""
    for name, direction in info.objectives:
        scored = [
            r
            for r in reports
            if r.metrics.get("phase", 1.0) >= 1 and abs(r.metrics.get(f"dev/{name}", float("nan"))) < float("inf")
        ]
        if scored:
            choose = max if direction == "max" else min
            return choose(scored, key=lambda r: r.metrics[f"dev/{name}"])
    return None


def model_metrics(row: ModelRow) -> dict[str, float]:
    """The confirmed figures of a model; those that were not measured are absent."""
    values: dict[str, float | None] = {
        "score": row.score,
        "score_sd": row.sd,
        "interval/low": row.interval.low,
        "interval/high": row.interval.high,
        "dev_score": row.dev_score,
        "parameters": float(row.parameters),
        "latency_ms": row.latency_ms,
        **{f"test/{k.removeprefix('test/')}": v for k, v in row.metrics.items()},
    }
    for name, spread in row.folds.items():
        values |= {f"folds/{name}/mean": spread.mean, f"folds/{name}/sd": spread.sd}
        values |= {f"fold/{fold}/{name}": value for fold, value in enumerate(spread.each)}
    for one in row.robustness:
        name = metric_name(one.name)
        values |= {f"robustness/{name}": one.score, f"robustness_change/{name}": one.change}
    return {k: v for k, v in values.items() if v is not None}


def metric_name(condition: str) -> str:
    """Of a condition, in letters that MLflow takes: `words-dropped-30pct`, `only-audio-text`."""
    return condition.replace("%", "pct").replace("+", "-")


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
