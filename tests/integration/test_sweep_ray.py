"""Whole sweeps on Ray, their trials by formula: states, reasons, stops, repeats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from orchestrator.errors import SettingsError
from orchestrator.experiment import ExperimentSpec
from orchestrator.journal import Journal
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.space import with_values
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import Notes, experiment, formula_work, score
from trainables.reporter import ListReporter
from trainables.storage import Storage

THREE = [
    {"metric": "weighted_f1"},
    {"metric": "parameters", "direction": "min"},
    {"metric": "latency_ms", "direction": "min"},
]


def plan(folder: Path, spec: ExperimentSpec, trials: int, concurrency: int | None, **faults: Any) -> SweepPlan:
    cache = folder / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "faults.json").write_text(json.dumps({k.removeprefix("t"): v for k, v in faults.items()}), "utf-8")
    return SweepPlan(spec, str(folder / "store"), "sweeps/fake", ("0" * 16,), str(cache), trials, concurrency)


def epochs_run(folder: Path) -> list[tuple[int, int, int]]:
    """(trial, epoch, process) of every epoch that a worker began, in order."""
    lines = (folder / "cache" / "epochs.log").read_text("utf-8").splitlines()
    return [(int(a), int(b), int(c)) for a, b, c in (line.split() for line in lines)]


def test_every_end_of_a_trial_is_recorded_with_its_reason(cluster: Cluster, tmp_path: Path) -> None:
    notes = Notes()
    faults = {"t3": "diverge", "t4": "crash", "t5": "die", "t6": "nan"}
    records = run_sweep(plan(tmp_path, experiment(), 12, 2, **faults), notes, work=formula_work)
    by_number = {record.number: record for record in records}
    assert sorted(by_number) == list(range(12))
    assert by_number[3].reason == "epoch 2: loss/kd is nan; lower training.learning_rate"
    assert by_number[4].reason == "ZeroDivisionError: division by zero"
    assert by_number[6].reason == "weighted_f1 is nan"
    assert [by_number[n].state for n in (0, 1, 3, 4, 6)] == ["completed", "completed", "failed", "failed", "failed"]
    assert (by_number[5].attempts, by_number[5].state in ("completed", "pruned")) == (2, True)
    for record in records:
        run = with_values(experiment().run, {**record.params, **record.overrides})
        if record.state == "completed":
            assert record.values == {"weighted_f1": pytest.approx(score(run, 6))}
            assert [report.epoch for report in record.reports] == list(range(1, 7))
        if record.state == "pruned":
            assert record.reason == f"stopped by ASHA at epoch {record.epochs}"
            assert record.values == {"weighted_f1": pytest.approx(score(run, record.epochs))}
            assert record.role == "search"
    assert any(record.state == "pruned" for record in records)
    assert notes.states[0] == (0, "queued")
    for record in records:
        assert [n for n, state in notes.states if state == record.state].count(record.number) == 1
    assert Journal(Storage(str(tmp_path / "store/sweeps/fake"))).read() == records
    assert pq.read_table(tmp_path / "store/sweeps/fake/trials.parquet").num_rows == 12


def test_processes_are_used_again(cluster: Cluster, tmp_path: Path) -> None:
    run_sweep(plan(tmp_path, experiment(scheduler={"type": "none"}), 8, 2), Notes(), work=formula_work)
    assert len({process for _, _, process in epochs_run(tmp_path)}) <= 2


def test_one_at_a_time_the_sweep_repeats_also_when_extended(cluster: Cluster, tmp_path: Path) -> None:
    whole = run_sweep(plan(tmp_path / "a", experiment(), 9, 1), Notes(), work=formula_work)
    run_sweep(plan(tmp_path / "b", experiment(), 5, 1), Notes(), work=formula_work)
    notes = Notes()
    extended = run_sweep(plan(tmp_path / "b", experiment(), 9, 1), notes, work=formula_work)
    facts = [(r.number, r.params, r.state, r.values, r.epochs, r.reason) for r in whole]
    assert facts == [(r.number, r.params, r.state, r.values, r.epochs, r.reason) for r in extended]
    assert {number for number, _ in notes.states} == {5, 6, 7, 8}
    assert len(epochs_run(tmp_path / "a")) == len(epochs_run(tmp_path / "b"))


def test_several_objectives(cluster: Cluster, tmp_path: Path) -> None:
    objectives = [{"metric": "weighted_f1"}, {"metric": "parameters", "direction": "min"}]
    spec = experiment(objectives=objectives, scheduler={"type": "none"})
    records = run_sweep(plan(tmp_path, spec, 5, None), Notes(), work=formula_work)
    assert all(set(record.values) == {"weighted_f1", "parameters"} for record in records)


def test_a_trial_that_can_never_be_placed_is_an_error_with_numbers(cluster: Cluster, tmp_path: Path) -> None:
    spec = experiment(resources={"trial": {"cpus": 3, "workers": 2}})
    with pytest.raises(SettingsError, match=r"2 workers of 3 CPUs need 6 CPUs; .* nodes have 4: .*no trial"):
        run_sweep(plan(tmp_path, spec, 2, None), Notes(), work=formula_work)


def test_a_student_in_a_trial_is_bit_for_bit_that_of_a_plain_call(cluster: Cluster, tmp_path: Path) -> None:
    from trainables.run import train

    data = synthetic(tmp_path)
    spec = experiment(epochs=2, scheduler={"type": "none"}, objectives=THREE)
    plan_ = SweepPlan(spec, str(tmp_path / "store"), "sweeps/real", (FINGERPRINT,), str(tmp_path / "cache"), 4, 2)
    records = run_sweep(plan_, Notes())
    assert [record.reason for record in records] == [""] * 4
    for record in records:
        run = with_values(spec.run, {**record.params, **record.overrides})
        alone = train(run, data, ListReporter(), threads=1)
        told = [{k: v for k, v in report.metrics.items() if k != "seconds"} for report in record.reports]
        assert told == [{k: v for k, v in curve.items() if k != "seconds"} for curve in alone.curves]
        assert record.values["weighted_f1"] == alone.score
        assert (record.values["parameters"], record.values["latency_ms"] > 0) == (alone.parameters, True)
    table = pq.read_table(tmp_path / "store/sweeps/real/predictions.parquet")
    assert table.num_rows == 4 * len(data.rows("dev", ("audio", "text")))
    assert set(table.column_names) == {"number", "uid", "label", "logits"}
