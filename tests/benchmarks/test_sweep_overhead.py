"""What a sweep costs beyond its trials: forty trials of one short epoch, through Ray and in a plain loop."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from pathlib import Path

from orchestrator.events import Observer
from orchestrator.experiment import ExperimentSpec
from orchestrator.launch.cluster import connected
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.space import with_values
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import experiment
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.transfer_set import TransferSet

TRIALS = 40
UTTERANCES = 2000


def plain_loop(spec: ExperimentSpec, params: list[dict[str, object]], data: TransferSet) -> float:
    began = time.perf_counter()
    for values in params:
        train(with_values(spec.run, values), data, ListReporter(), threads=1)
    return time.perf_counter() - began


def test_forty_short_trials(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=UTTERANCES)
    spec = experiment(epochs=1, scheduler={"type": "none"})
    plan = SweepPlan(spec, str(tmp_path / "store"), "sweeps/b", (FINGERPRINT,), str(tmp_path / "cache"), TRIALS, 1)
    began = time.perf_counter()
    with connected(None, cpus=1):
        up = time.perf_counter() - began
        records = run_sweep(plan, Observer())
        swept = time.perf_counter() - began - up
    plain = plain_loop(spec, [{**record.params, **record.overrides} for record in records], data)
    gaps = [after.started - before.ended for before, after in pairwise(records)]
    print(
        f"\n{TRIALS} trials of one epoch, one at a time: plain loop {plain:.1f} s, sweep {swept:.1f} s "
        f"(ratio {swept / plain:.2f}); between two trials {1000 * statistics.median(gaps):.0f} ms (median); "
        f"cluster up in {up:.1f} s"
    )
    assert len(records) == TRIALS
