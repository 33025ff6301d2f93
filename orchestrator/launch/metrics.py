"""What Prometheus is shown beside all that Ray exports of itself, its nodes and GPUs: sweeps, storage, node caches.

Each process records with Ray's own metrics, at some 2 µs, and the agent of its node exports them as `ray_<name>`;
KubeRay opens port 8080 for that, which asks for no token. Ray drops a gauge that was not set for 20 s, so that a
thread sets each again for as long as its process lives: where one is shown, a driver lives. A process that is
killed takes with it what it counted in its last 10 s. Ray passes histograms on as counts by bucket: quantiles are
as good as the bounds, sums are estimates.

Nothing here raises: a sweep never fails for its metrics.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from trainables.storage import traffic

AGAIN_SECONDS = 8.0
"""How often what is shown of a gauge is set again."""
CACHE_SECONDS = 30.0
"""How often a process looks how full its node's cache is."""
_MINUTE, _HOUR = 60.0, 3600.0
_SWEEP = ("experiment", "sweep")


@dataclass(frozen=True)
class Metric:
    kind: Literal["Counter", "Gauge", "Histogram"]
    name: str
    says: str
    tags: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


TRIALS = Metric("Gauge", "orch_trials", "Trials of a sweep that is driven, by state", (*_SWEEP, "state"))
TRIAL_SECONDS = Metric(
    "Histogram",
    "orch_trial_seconds",
    "Seconds from a trial's first start to its end, waits between its attempts among them",
    (*_SWEEP, "state"),
    (1.0, 3.0, 10.0, 30.0, _MINUTE, 3 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, _HOUR, 3 * _HOUR, 10 * _HOUR),
)
EPOCHS = Metric("Counter", "orch_epochs", "Epochs that trials have told", _SWEEP)
RESTARTS = Metric("Counter", "orch_trial_restarts", "Attempts of trials that ended without a result", _SWEEP)
BEST = Metric("Gauge", "orch_best_score", "Best dev score of the finished trials", (*_SWEEP, "metric"))
STAGE = Metric("Gauge", "orch_stage_progress", "Share of a stage that is done, 0 to 1", (*_SWEEP, "stage"))
HEARD = Metric("Gauge", "orch_progress_timestamp_seconds", "When the driver last heard of any progress", _SWEEP)
SPOOL = Metric("Gauge", "orch_mlflow_spool_bytes", "Events that wait on the driver's disk for MLflow", _SWEEP)
REQUESTS = Metric("Counter", "orch_storage_requests", "Requests to the object store", ("operation", "outcome"))
BYTES = Metric("Counter", "orch_storage_bytes", "Bytes of objects sent and received", ("direction",))
CACHE = Metric("Gauge", "orch_cache_bytes", "What a node's cache holds")
CACHE_LIMIT = Metric("Gauge", "orch_cache_limit_bytes", "What a node's cache may hold")
CACHE_FREE = Metric("Gauge", "orch_cache_disk_free_bytes", "What is left on the disk of a node's cache")
CACHE_DISK = Metric("Gauge", "orch_cache_disk_bytes", "Size of the disk of a node's cache")
METRICS = (
    TRIALS, TRIAL_SECONDS, EPOCHS, RESTARTS, BEST, STAGE, HEARD, SPOOL, REQUESTS, BYTES,
    CACHE, CACHE_LIMIT, CACHE_FREE, CACHE_DISK,
)  # fmt: skip

_looked: dict[Path, float] = {}
_shown: dict[tuple[Metric, frozenset[tuple[str, str]]], float] = {}
"""The gauges that this process shows: until `forget`, or its end."""
_lock = threading.Lock()


def record(metric: Metric, value: float, tags: Mapping[str, str] | None = None) -> None:
    """Count `value` on, set it, or observe it; for a process that is connected to Ray, from any thread."""
    given = dict(tags or {})
    try:
        _recorder(metric)(value, tags=given)
        if metric.kind == "Gauge":
            with _lock:
                _shown[metric, frozenset(given.items())] = value
                _keep_showing()
    except Exception as error:
        logging.getLogger(__name__).debug("%s is not shown: %r", metric.name, error)


def forget(tags: Mapping[str, str]) -> None:
    """Show no gauge with these tags any longer, while this process goes on to something else."""
    with _lock:
        for entry in [entry for entry in _shown if set(tags.items()) <= entry[1]]:
            del _shown[entry]


def show_storage() -> None:
    """Show what this process asks of object stores from now on; again is harmless."""
    traffic.listen(_requested)


def show_cache(folder: Path) -> None:
    """Show how full this node's cache is, if that was not looked at just now."""
    now = time.monotonic()
    if now - _looked.get(folder, -CACHE_SECONDS) < CACHE_SECONDS:
        return
    _looked[folder] = now
    try:
        from trainables.node_cache import NodeCache

        use = NodeCache(folder).use()
    except Exception as error:
        logging.getLogger(__name__).debug("%s is not looked at: %r", folder, error)
        return
    for metric, value in (
        (CACHE, use.held), (CACHE_LIMIT, use.limit), (CACHE_FREE, use.free), (CACHE_DISK, use.disk),
    ):  # fmt: skip
        record(metric, value)


def _requested(request: traffic.Request) -> None:
    record(REQUESTS, 1, {"operation": request.operation, "outcome": request.outcome})
    for direction, count in (("sent", request.sent), ("received", request.received)):
        if count:
            record(BYTES, count, {"direction": direction})


@cache
def _keep_showing() -> None:
    threading.Thread(target=_show_again, daemon=True, name="orch-metrics").start()


def _show_again() -> None:
    while True:
        time.sleep(AGAIN_SECONDS)
        with _lock:
            shown = list(_shown.items())
        for (metric, tags), value in shown:
            with suppress(Exception):
                _recorder(metric)(value, tags=dict(tags))


@cache
def _recorder(metric: Metric) -> Any:
    """Ray's own, which outlives a disconnection and serves the next connection."""
    from ray.util import metrics

    if metric.kind == "Counter":
        return metrics.Counter(metric.name, metric.says, metric.tags).inc
    if metric.kind == "Gauge":
        return metrics.Gauge(metric.name, metric.says, metric.tags).set
    return metrics.Histogram(metric.name, metric.says, list(metric.bounds), metric.tags).observe
