"""The runs of one sweep in MLflow, each found by its tags before it is made, and written only where it differs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from orchestrator.tracking.info import (
    KIND,
    MODEL,
    NON_FINITE,
    PARENT,
    RUN_NAME,
    STATE,
    SUPERSEDED,
    SWEEP,
    TRIAL,
    RunKind,
    run_tag,
)

METRICS, PARAMS, TAGS = 1000, 100, 100
"""Most entries of each kind that MLflow takes in a request; the three together at most 1000."""
_PARAM_LENGTH, _TAG_LENGTH, _KEY_LENGTH = 6000, 5000, 250
_PAGE = 250
"""Runs looked up at once: each has some hundred entries."""
_EPOCH = "epoch"
_PLAIN = re.compile(r"[^\w\-. /]")

Point = tuple[str, float, int, int]
"""Metric, value, milliseconds since 1970, step."""


@dataclass
class Handle:
    """What is known of a run: all that it took to find it, and what was sent since."""

    run_id: str
    status: str
    metrics: dict[str, float] = field(default_factory=dict)
    params: set[str] = field(default_factory=set)
    """Names alone: a value never changes."""
    tags: dict[str, str] = field(default_factory=dict)
    inputs: set[tuple[str, str]] = field(default_factory=set)
    epochs: set[int] | None = field(default_factory=set)
    """Those sent; None until the store is asked."""
    start: int = 0
    """Milliseconds since 1970."""
    points: list[Point] = field(default_factory=list)
    """Curves that wait to be sent together."""


class Runs:
    """Finds, makes and writes the runs of a sweep. Every method may raise what MLflow raises."""

    def __init__(self, client: Any, experiment: str, sweep: str, artifact_location: str | None = None) -> None:
        self.client, self.sweep = client, sweep
        self.experiment_id = _experiment(client, experiment, artifact_location)
        self.index = self._find()

    def get(self, kind: RunKind, name: str) -> Handle | None:
        return self.index.get((kind, name))

    def ensure(
        self, kind: RunKind, name: str, start: int, tags: Mapping[str, str], first: Mapping[str, str] | None = None
    ) -> Handle:
        """The run, created RUNNING at `start` (milliseconds) where there is none; `tags` are brought up to date.

        first: tags that it has from its creation and that are left as they are afterwards.
        """
        handle = self.get(kind, name)
        if handle is None:
            handle = self._create(kind, name, start, {**tags, **(first or {})})
        else:
            self.write(handle, tags=tags)
        return handle

    def running(self, handle: Handle) -> None:
        if handle.status != "RUNNING":
            self.client.update_run(handle.run_id, status="RUNNING")
            handle.status = "RUNNING"

    def ended(self, handle: Handle, status: str, end: int) -> None:
        if handle.status != status:
            self.client.set_terminated(handle.run_id, status=status, end_time=end)
            handle.status = status

    def write(
        self,
        handle: Handle,
        points: Iterable[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Send what is not there yet. Values that are not finite are left out and named in a tag."""
        from mlflow.entities import Metric, Param, RunTag

        finite, left_out = _finite(points)
        new_tags = {key(k): text(v, _TAG_LENGTH) for k, v in (tags or {}).items()}
        if left_out:
            known = handle.tags.get(NON_FINITE, "").split()
            new_tags[NON_FINITE] = " ".join(dict.fromkeys([*known, *left_out]))[:_TAG_LENGTH]
        new_tags = {k: v for k, v in new_tags.items() if handle.tags.get(k, "") != v}
        new_params = {key(k): text(v, _PARAM_LENGTH) for k, v in (params or {}).items()}
        new_params = {k: v for k, v in new_params.items() if k not in handle.params}
        metrics = [Metric(k, v, time, step) for k, v, time, step in finite]
        entries = [
            _chunks([Param(k, v) for k, v in new_params.items()], PARAMS),
            _chunks([RunTag(k, v) for k, v in new_tags.items()], TAGS),
            _chunks(metrics, METRICS - PARAMS - TAGS if new_params or new_tags else METRICS),
        ]
        for i in range(max(map(len, entries))):
            part, tag, metric = (chunks[i] if i < len(chunks) else [] for chunks in entries)
            self.client.log_batch(handle.run_id, metrics=metric, params=part, tags=tag)
        handle.params.update(map(intern, new_params))
        handle.tags.update(new_tags)
        handle.metrics.update({k: v for k, v, _, _ in finite})

    def summary(
        self,
        handle: Handle,
        values: Mapping[str, float],
        step: int,
        time: int,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Single values: sent only where the run holds another, so that telling them again adds no point."""
        differ = [(k, v, time, step) for k, v in values.items() if handle.metrics.get(key(k)) != v]
        self.write(handle, differ, params, tags)

    def curve(self, handle: Handle, epoch: int, metrics: Mapping[str, float], time: int) -> None:
        """Queue the metrics of an epoch, unless that epoch has been sent; `epoch` comes last, as the mark of it."""
        sent = self.epochs(handle)
        if epoch in sent:
            return
        rest = {k: v for k, v in metrics.items() if k != _EPOCH}
        handle.points += [(k, float(v), time, epoch) for k, v in rest.items()]
        handle.points.append((_EPOCH, float(epoch), time, epoch))
        sent.add(epoch)
        if len(handle.points) >= METRICS:
            self.flush(handle)

    def flush(self, handle: Handle, *, tags: Mapping[str, str] | None = None) -> None:
        points, handle.points = handle.points, []
        self.write(handle, points, tags=tags)

    def epochs(self, handle: Handle) -> set[int]:
        """Those sent. Not the last alone: a driver may have been lost with what it had not sent, and another one
        have gone on behind the gap."""
        if handle.epochs is None:
            sent = self.client.get_metric_history(handle.run_id, _EPOCH) if _EPOCH in handle.metrics else []
            handle.epochs = {point.step for point in sent}
        return handle.epochs

    def supersede(self, kind: RunKind, name: str) -> None:
        """Set the run aside under another name, so that another one takes its place."""
        handle = self.index.pop((kind, name))
        self.write(handle, tags={STATE: SUPERSEDED})
        self.client.update_run(handle.run_id, name=f"{name} ({SUPERSEDED})")

    def _create(self, kind: RunKind, name: str, start: int, tags: Mapping[str, str]) -> Handle:
        own = {SWEEP: self.sweep, KIND: kind, **tags}
        tag = run_tag(kind)
        if tag is not None:
            own[tag] = name
            parent = self.get("sweep", self.sweep)
            if parent is not None:
                own[PARENT] = parent.run_id
        own = {key(k): text(v, _TAG_LENGTH) for k, v in own.items()}
        run = self.client.create_run(self.experiment_id, start_time=start, tags=own, run_name=name)
        handle = Handle(run.info.run_id, "RUNNING", tags=own, start=start)
        self.index[kind, name] = handle
        return handle

    def _find(self) -> dict[tuple[RunKind, str], Handle]:
        index: dict[tuple[RunKind, str], Handle] = {}
        # Oldest first: should two drivers have raced, every later one takes the same run.
        for run in search(self.client, [self.experiment_id], f"tags.`{SWEEP}` = '{self.sweep}'"):
            tags = run.data.tags
            if tags.get(STATE) == SUPERSEDED:
                continue
            kind: RunKind = tags.get(KIND, "sweep")
            name = tags.get(TRIAL) or tags.get(MODEL) or tags.get(RUN_NAME, self.sweep)
            if kind == "sweep":
                name = self.sweep
            handle = _handle(run)
            known = index.setdefault((kind, name), handle)
            if known is not handle:
                index[kind, name] = self._one_of(known, handle)
        return index

    def _one_of(self, known: Handle, other: Handle) -> Handle:
        """Of two runs of one name the one that holds something. The other was made by a request that was taken for
        failed and made again, as the store was slow; it is removed where it is empty."""
        spare = other if not (other.metrics or other.params) else known
        if not (spare.metrics or spare.params):
            self.client.delete_run(spare.run_id)
            return known if spare is other else other
        return known


def search(client: Any, experiment_ids: list[str], query: str) -> Iterable[Any]:
    """All runs that match, oldest first, page after page."""
    token = None
    while True:
        page = client.search_runs(
            experiment_ids, query, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def key(name: str) -> str:
    """A name with the characters and the length that MLflow takes."""
    return _PLAIN.sub("_", name)[:_KEY_LENGTH]


def text(value: str, length: int) -> str:
    """A value that every database takes: PostgreSQL has no NUL in a text, and UTF-8 no half of a pair."""
    return value[:length].replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _handle(run: Any) -> Handle:
    inputs = getattr(run.inputs, "dataset_inputs", None) or []
    return Handle(
        run.info.run_id,
        run.info.status,
        dict(run.data.metrics),
        set(map(intern, run.data.params)),
        dict(run.data.tags),
        {(i.dataset.name, i.dataset.digest) for i in inputs},
        epochs=None,
        start=run.info.start_time,
    )


def _experiment(client: Any, name: str, artifact_location: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_location))
        except Exception as error:
            if getattr(error, "error_code", None) != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _finite(points: Iterable[Point]) -> tuple[list[Point], list[str]]:
    kept, left_out = [], []
    for name, value, time, step in points:
        if math.isfinite(value):
            kept.append((key(name), float(value), time, step))
        else:
            left_out.append(f"{key(name)}@{step}".replace(" ", "_"))
    return kept, left_out


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i : i + size] for i in range(0, len(items), size)]
