"""A driver that takes longer over an epoch than the trial does loses nothing, and keeps no trial running."""

from __future__ import annotations

import time
from pathlib import Path

from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import SweepPlan, run_sweep
from tests.helpers.trials import experiment, formula_work


class Slow(Observer):
    def __init__(self, folder: Path) -> None:
        self._log = folder / "epochs.log"
        self.behind: list[int] = []
        """How many epochs of the trial had run unheard, at each that was told."""

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        time.sleep(0.7)
        lines = self._log.read_text("utf-8").splitlines()
        run = max(int(epoch) for number, epoch, _ in map(str.split, lines) if int(number) == trial.number)
        self.behind.append(run - report.epoch)


def test_the_last_report_is_heard_however_slow_the_driver(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    spec = experiment(epochs=4, scheduler={"type": "none"})
    plan = SweepPlan(spec, str(tmp_path / "store"), "sweeps/slow", ("0" * 16,), str(tmp_path / "cache"), 3, 3)
    slow = Slow(tmp_path / "cache")
    records = run_sweep(plan, slow, work=formula_work)
    assert [record.state for record in records] == ["completed"] * 3
    assert [[report.epoch for report in record.reports] for record in records] == [[1, 2, 3, 4]] * 3
    assert all(record.values for record in records)
    assert max(slow.behind) >= 1
