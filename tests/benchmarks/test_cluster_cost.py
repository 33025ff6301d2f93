"""What S3 costs a sweep beside a local folder, and how trials a minute grow with nodes."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from orchestrator.events import Observer
from orchestrator.journal import Journal
from orchestrator.launch.cluster import connected
from orchestrator.launch.sweep import SweepPlan, run_sweep
from tests.helpers.cluster_sweep import FOLDER
from tests.helpers.services.process import Service
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.ray import ray_nodes
from tests.helpers.services.s3 import s3_server
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import experiment
from trainables.storage import Storage

TRIALS, UTTERANCES = 20, 2000


def test_s3_against_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same trials one at a time, each of six epochs; the storage is warm in neither case."""
    spec = experiment(epochs=6, scheduler={"type": "none"})
    synthetic(tmp_path, n=UTTERANCES)
    local, remote = Storage(str(tmp_path / "store")), Storage("s3://bench/store")
    with s3_server(tmp_path) as server, FaultProxy(server.endpoint) as proxy:
        server.make_bucket("bench")
        for name, value in server.through(proxy.endpoint).items():
            monkeypatch.setenv(name, value)
        for info in local.list():
            remote.upload(tmp_path / "store" / info.key, info.key)
        took = {}
        with connected(None, cpus=1):
            for name, storage in (("first", local), ("local", local), ("s3", remote)):
                proxy.reset()
                began, cache = time.perf_counter(), str(tmp_path / f"cache-{name}")
                plan = SweepPlan(spec, storage.root, f"sweeps/{name}", (FINGERPRINT,), cache, TRIALS, 1)
                records = run_sweep(plan, Observer())
                took[name] = time.perf_counter() - began
                assert [record.state for record in records] == ["completed"] * TRIALS
        requests = list(proxy.requests)
    pulled = [one for one in requests if f"transfer_sets/{FINGERPRINT}" in one.path]
    own = [one for one in requests if one not in pulled]
    methods = ", ".join(f"{n / TRIALS:.1f} {method}" for method, n in Counter(r.method for r in own).most_common())
    print(
        f"\n{TRIALS} trials of six epochs: local {took['local']:.1f} s, S3 {took['s3']:.1f} s "
        f"(ratio {took['s3'] / took['local']:.2f}); transfer set: {len(pulled)} requests, "
        f"{sum(one.received for one in pulled)} bytes; then {len(own) / TRIALS:.1f} requests a trial ({methods}) "
        f"of {sum(one.sent + one.received for one in own) / TRIALS:.0f} bytes"
    )


@pytest.mark.parametrize("nodes", [1, 2, 4])
def test_trials_a_minute_by_nodes(tmp_path: Path, nodes: int) -> None:
    """Two trials of half a CPU a node that wait instead of computing: what is measured is our own part."""
    trials, root = 16 * nodes, str(tmp_path / "store")
    with ray_nodes(tmp_path, [1] * nodes) as cluster:
        environment = {
            **os.environ, **cluster.environment, "RAY_ADDRESS": cluster.address, "CPUS": "0.5",
            "ORCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.helpers.cluster_sweep", root, str(trials), "1", "1"]
        with Service(command, tmp_path / "driver.log", None, environment) as driver:
            assert driver.wait(900) == 0, driver.output()[-2000:]
    records = Journal(Storage(root).at(FOLDER)).read()
    seconds = max(one.ended for one in records) - min(one.started for one in records)
    print(
        f"\n{nodes} nodes, {2 * nodes} trials at once of three seconds each: {60 * trials / seconds:.0f} a minute "
        f"(without any cost of ours: {60 * 2 * nodes / 3:.0f})"
    )
    assert len(records) == trials
