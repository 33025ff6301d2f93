"""What the K-th concurrent trial costs in memory: its process, but not the data again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from orchestrator.events import Observer
from orchestrator.launch.cluster import connected
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.launch.trial import TrialJob, student_work, transfer_set
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import experiment
from trainables.reporter import Reporter
from trainables.spec import RunSpec

TOGETHER = 3


def memory() -> dict[str, int]:
    """Bytes of this process: resident, its share of what it shares (pss), and its own alone (private)."""
    found: dict[str, int] = {}
    for line in Path("/proc/self/smaps_rollup").read_text("utf-8").splitlines()[1:]:
        name, amount = line.split(":")
        found[name] = int(amount.split()[0]) * 1024
    return {"rss": found["Rss"], "pss": found["Pss"], "private": found["Private_Clean"] + found["Private_Dirty"]}


def measured_work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """A trial that reads every row of the transfer set, waits for the others, and notes its private memory."""
    values = student_work(job, run, number, reporter)
    data = transfer_set(job.storage, job.transfer_set(run.fold), job.cache)
    frames = data.streams["audio"].values
    read, size = float(frames.astype("float32").sum()), frames.nbytes
    folder = Path(job.cache)
    (folder / f"here-{number}").touch()
    deadline = time.monotonic() + 60
    while len(list(folder.glob("here-*"))) < TOGETHER and time.monotonic() < deadline:
        time.sleep(0.1)
    facts = {**memory(), "data": size, "read": read}
    (folder / f"memory-{number}.json").write_text(json.dumps(facts), "utf-8")
    return values


@pytest.mark.parametrize("utterances", [500, 20_000])
def test_memory_of_concurrent_trials(tmp_path: Path, utterances: int) -> None:
    synthetic(tmp_path, n=utterances)
    spec = experiment(epochs=1, scheduler={"type": "none"})
    cache = tmp_path / "cache"
    plan = SweepPlan(spec, str(tmp_path / "store"), "sweeps/m", (FINGERPRINT,), str(cache), TOGETHER, TOGETHER)
    with connected(None, cpus=TOGETHER):
        run_sweep(plan, Observer(), work=measured_work)
    facts = [json.loads(path.read_text("utf-8")) for path in sorted(cache.glob("memory-*.json"))]
    assert len(facts) == TOGETHER
    mib = [{name: round(value / 2**20) for name, value in one.items() if name != "read"} for one in facts]
    print(f"\n{utterances} utterances, {TOGETHER} trials at once (MiB): {mib}")
