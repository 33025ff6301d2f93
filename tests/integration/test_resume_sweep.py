"""A driver that is killed or interrupted, and the same sweep gone on with: nothing twice, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.events import TrialRecord
from orchestrator.journal import Journal
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import run_sweep
from tests.helpers.trials import Notes, experiment, formula_work
from tests.integration.test_sweep_ray import epochs_run, plan
from trainables.storage import Storage

TRIALS = 6


def start(folder: Path, concurrency: int) -> subprocess.Popen[bytes]:
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "faults.json").write_text(json.dumps({"all": 0.4}), "utf-8")
    command = [sys.executable, "-m", "tests.helpers.sweep_process", str(folder), str(TRIALS), str(concurrency)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def wait_until_trial(folder: Path, number: int, epoch: int, process: subprocess.Popen[bytes]) -> None:
    """Until the worker has begun that epoch of that trial."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "cache" / "epochs.log").exists() and (number, epoch) in {
            (a, b) for a, b, _ in epochs_run(folder)
        }:
            return
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"trial {number} never came to epoch {epoch}: {process.communicate()[0].decode()[-2000:]}")


def stored(folder: Path) -> list[TrialRecord]:
    return Journal(Storage(str(folder / "store/sweeps/fake"))).read()


def go_on(folder: Path, trials: int) -> tuple[list[TrialRecord], Notes]:
    notes = Notes()
    return run_sweep(plan(folder, experiment(), trials, 1), notes, work=formula_work), notes


def check_whole(folder: Path, records: list[TrialRecord], before: list[TrialRecord], notes: Notes) -> None:
    """Every trial ended once; those that had ended were not begun again; others went on where they were."""
    assert [record.number for record in records] == list(range(len(records)))
    assert all(record.finished for record in records)
    done = {record.number for record in before if record.finished}
    assert done.isdisjoint({number for number, _ in notes.states})
    assert [r for r in records if r.number in done] == [r for r in before if r.finished]
    epochs = [(number, epoch) for number, epoch, _ in epochs_run(folder)]
    for record in records:
        begun = [epoch for number, epoch in epochs if number == record.number]
        assert [report.epoch for report in record.reports] == list(range(1, record.epochs + 1))
        assert len(begun) <= record.epochs + record.attempts - 1, "an epoch that was saved ran again"


def test_after_a_kill_the_sweep_goes_on_as_if_nothing_had_happened(cluster: Cluster, tmp_path: Path) -> None:
    process = start(tmp_path / "killed", 1)
    wait_until_trial(tmp_path / "killed", 1, 4, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    before = stored(tmp_path / "killed")
    assert [record.state for record in before] == ["completed", "running"]
    records, notes = go_on(tmp_path / "killed", TRIALS + 1)
    check_whole(tmp_path / "killed", records, before, notes)
    assert records[1].attempts == 2
    undisturbed = run_sweep(plan(tmp_path / "whole", experiment(), TRIALS + 1, 1), Notes(), work=formula_work)
    facts = [(r.params, r.state, r.values, [x.model_dump(exclude={"at"}) for x in r.reports]) for r in undisturbed]
    assert facts == [
        (r.params, r.state, r.values, [x.model_dump(exclude={"at"}) for x in r.reports]) for r in records
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_sweep_cleanly(cluster: Cluster, tmp_path: Path, number: signal.Signals) -> None:
    process = start(tmp_path, 2)
    wait_until_trial(tmp_path, 2, 2, process)
    # As the terminal does it: the whole process group gets a SIGINT; a supervisor's SIGTERM goes to the driver.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130, output[-2000:]
    before = stored(tmp_path)
    assert {record.state for record in before} <= {"completed", "pruned", "queued"}
    assert any(record.state == "queued" for record in before)
    records, notes = go_on(tmp_path, TRIALS)
    check_whole(tmp_path, records, before, notes)
