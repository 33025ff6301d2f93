"""What the machine does to trials: lost, hanging, preempted, out of disk. Each still gives its one result."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from orchestrator.events import TrialRecord
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import run_sweep
from orchestrator.space import with_values
from tests.helpers.trials import Notes, experiment, formula_work, score
from tests.integration.test_sweep_ray import epochs_run, plan

EPOCHS = 6
SILENT = {"trial": {"silent_minutes": 0.25}}


def begun(folder: Path, number: int) -> dict[int, int]:
    """How often each epoch of a trial was begun."""
    return dict(Counter(epoch for trial, epoch, _ in epochs_run(folder) if trial == number))


def whole(record: TrialRecord) -> None:
    run = with_values(experiment().run, {**record.params, **record.overrides})
    assert (record.state, record.reason, record.machine) == ("completed", "", False)
    assert record.values == {"weighted_f1": pytest.approx(score(run, EPOCHS))}
    assert [report.epoch for report in record.reports] == list(range(1, EPOCHS + 1))


def test_every_trial_ends_once_whatever_its_machine_did(cluster: Cluster, tmp_path: Path) -> None:
    spec = experiment(scheduler={"type": "none"}, resources=SILENT)
    given = plan(tmp_path, spec, 6, 4, t2="hang", t3="term", t4="full", t5="die")
    records = run_sweep(given, Notes(), work=formula_work)
    assert [record.number for record in records] == list(range(6))
    for record in records:
        whole(record)
    once = dict.fromkeys(range(1, EPOCHS + 1), 1)
    assert [begun(tmp_path, number) for number in (0, 1)] == [once] * 2
    assert begun(tmp_path, 3) == once, "a preempted trial had saved its epoch"
    assert [begun(tmp_path, number) for number in (2, 4, 5)] == [{**once, 2: 2}] * 3
    assert [record.attempts for record in records] == [1, 1, 2, 2, 2, 2]
    hung = next(process for trial, epoch, process in epochs_run(tmp_path) if (trial, epoch) == (2, 2))
    assert not Path(f"/proc/{hung}").exists()
