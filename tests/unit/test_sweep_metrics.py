"""What the driver tells of a sweep, as Ray is given it; that Ray exports it, tests/chaos/test_metrics.py sees."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import Report, TrialRecord
from orchestrator.experiment import Objective
from orchestrator.launch import metrics, metrics_driver
from orchestrator.launch.metrics import METRICS, Metric
from orchestrator.launch.metrics_driver import SweepMetrics
from orchestrator.tracking.spool import Segment, unsent
from trainables.node_cache import NodeCache, Recipe

SWEEP = {"experiment": "e", "sweep": "e-1"}
SILENT = """
import sys
from orchestrator.events import Report, TrialRecord
from orchestrator.experiment import Objective
from orchestrator.launch.metrics_driver import SweepMetrics
shown = SweepMetrics("e", "e-1", Objective(), lambda: 1 / 0)
trial = TrialRecord(number=0, role="search", params={}, state="running", started=1.0)
shown.stage_started("teach", "")
shown.stage_progress("teach", 0, 0)
shown.trial_changed(trial)
shown.trial_reported(trial, Report(epoch=1, metrics={}))
sys.exit("ray" in sys.modules)
"""

Told = list[tuple[str, float, dict[str, str]]]


def trial(number: int, state: Any, score: float | None = None, **more: Any) -> TrialRecord:
    values = {} if score is None else {"weighted_f1": score}
    given = {"role": "search", "params": {}, "started": 100.0, "ended": 130.0, **more}
    return TrialRecord(number=number, state=state, values=values, **given)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """As if Ray were connected."""
    found: Told = []

    def record(metric: Metric, value: float, tags: Mapping[str, str] | None = None) -> None:
        assert set(tags or {}) == set(metric.tags), metric.name
        found.append((metric.name, value, dict(tags or {})))

    monkeypatch.setattr(metrics, "record", record)
    monkeypatch.setattr(metrics_driver, "_connected", lambda: True)
    monkeypatch.setattr(metrics, "show_storage", lambda: None)
    return found


def last(told: Told, metric: Metric) -> dict[str, float]:
    """The last value, by the value of the metric's last tag."""
    return {tags[metric.tags[-1]]: value for name, value, tags in told if name == metric.name}


def observer(unsent: Callable[[], int] = lambda: 0, direction: Any = "max") -> SweepMetrics:
    return SweepMetrics("e", "e-1", Objective(direction=direction), unsent)


def test_each_trial_is_counted_in_the_state_that_it_is_in(told: Told) -> None:
    shown = observer()
    shown.trial_known(trial(0, "completed", 0.4))
    for state in ("queued", "running", "pruned"):
        shown.trial_changed(trial(1, state))
    shown.trial_changed(trial(2, "queued"))
    states = {"queued": 1, "running": 0, "completed": 1, "pruned": 1, "failed": 0}
    assert last(told, metrics.TRIALS) == states


def test_a_trial_s_seconds_are_told_at_its_end_alone(told: Told) -> None:
    shown = observer()
    for state in ("running", "completed"):
        shown.trial_changed(trial(0, state))
    seconds = [(value, tags) for name, value, tags in told if name == "orch_trial_seconds"]
    assert seconds == [(30.0, {**SWEEP, "state": "completed"})]


@pytest.mark.parametrize(("states", "lost"), [(("running", "queued", "running", "queued"), 2), (("queued",), 0)])
def test_an_attempt_that_was_lost_is_counted(told: Told, states: tuple[str, ...], lost: int) -> None:
    shown = observer()
    for state in states:
        shown.trial_changed(trial(0, state))
    assert [name for name, _, _ in told].count("orch_trial_restarts") == lost


@pytest.mark.parametrize(("direction", "best"), [("max", 0.6), ("min", 0.3)])
def test_the_best_score_is_of_searched_trials_in_the_objective_s_direction(
    told: Told, direction: str, best: float
) -> None:
    shown = observer(direction=direction)
    shown.trial_known(trial(0, "completed", 0.6))
    shown.trial_changed(trial(1, "pruned", 0.3))
    shown.trial_changed(trial(2, "completed", 0.9 if direction == "max" else 0.1, role="control"))
    assert last(told, metrics.BEST) == {"weighted_f1": best}


def test_epochs_and_stages_are_progress(told: Told) -> None:
    shown = observer()
    shown.stage_progress("teach", 1, 4)
    shown.trial_reported(trial(0, "running"), Report(epoch=1, metrics={}))
    assert last(told, metrics.STAGE) == {"teach": 0.25}
    assert last(told, metrics.EPOCHS) == {"e-1": 1}
    assert [name for name, _, _ in told].count("orch_progress_timestamp_seconds") == 2


def test_a_spool_that_cannot_be_looked_at_is_not_told(told: Told) -> None:
    def broken() -> int:
        raise OSError

    observer(broken).stage_started("teach", "")
    observer(lambda: 7).stage_started("teach", "")
    assert last(told, metrics.SPOOL) == {"e-1": 7}


def test_without_ray_nothing_is_told_and_ray_is_not_imported() -> None:
    """Ray reads its environment when it is imported, which is before the cluster's is set."""
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_recording_raises_nothing_whatever_is_wrong(metric: Metric) -> None:
    metrics.record(metric, -1.0, {"no": "such tag"})
    metrics.record(metric, 1.0, dict.fromkeys(metric.tags, "x"))


def test_a_gauge_is_set_again_until_its_sweep_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray drops one that is not, though the driver lives and waits for a long epoch."""
    told: Told = []
    again = threading.Semaphore(0)

    def recorder(metric: Metric) -> Callable[[float, dict[str, str]], None]:
        def told_(value: float, tags: dict[str, str]) -> None:
            told.append((metric.name, value, tags))
            again.release()

        return told_

    monkeypatch.setattr(metrics, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(metrics, "_recorder", recorder)
    monkeypatch.setattr(metrics, "_shown", {})
    monkeypatch.setattr(metrics, "_keep_showing", cache(metrics._keep_showing.__wrapped__))
    other = {**SWEEP, "sweep": "e-2"}
    metrics.record(metrics.EPOCHS, 1.0, SWEEP)
    metrics.record(metrics.HEARD, 5.0, SWEEP)
    metrics.record(metrics.HEARD, 7.0, SWEEP)
    metrics.record(metrics.HEARD, 9.0, other)
    for _ in range(12):
        assert again.acquire(timeout=60)
    assert [name for name, _, _ in told].count("orch_epochs") == 1, "a counter would count on"
    repeated = [(value, tags["sweep"]) for _, value, tags in told[4:12]]
    assert set(repeated) == {(7.0, "e-1"), (9.0, "e-2")}
    SweepMetrics("e", "e-1", Objective(), lambda: 0).close()
    told.clear()
    for _ in range(12):
        assert again.acquire(timeout=60)
    assert {tags["sweep"] for _, _, tags in told[1:]} == {"e-2"}
    metrics.forget({})
    assert metrics._shown == {}


def test_unsent_is_what_the_cursors_have_not_reached(tmp_path: Path) -> None:
    first, second = Segment.create(tmp_path, "a"), Segment.create(tmp_path, "b")
    for segment in (first, second):
        segment.append({"kind": "x"})
        segment.append({"kind": "y"})
    each = first.path.stat().st_size
    assert unsent(tmp_path) == 2 * each
    first.applied(each // 2)
    assert unsent(tmp_path) == 2 * each - each // 2
    second.remove()
    assert unsent(tmp_path) == each - each // 2
    assert unsent(tmp_path / "absent") == 0


def test_the_use_of_a_cache_is_that_of_its_entries_and_its_disk(tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache", limit=1.0)
    with cache.lease("one", lambda: Recipe("one", 5000, lambda folder: write(folder / "data", 5000))):
        use = cache.use()
    assert 5000 <= use.held < 10_000
    assert use.limit == 10**9
    assert 0 < use.free <= use.disk


def test_a_cache_is_not_looked_at_twice_in_a_row(tmp_path: Path, told: Told) -> None:
    cache = NodeCache(tmp_path / "cache")
    cache.lease("one", lambda: Recipe("one", 10, lambda folder: write(folder / "data", 10))).close()
    metrics.show_cache(cache.folder)
    metrics.show_cache(cache.folder)
    metrics.show_cache(tmp_path / "absent")
    names = [name for name, _, _ in told]
    assert sorted(names) == sorted(m.name for m in METRICS if m.name.startswith("orch_cache"))


def write(path: Path, size: int) -> None:
    path.write_bytes(bytes(size))
