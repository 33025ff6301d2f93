"""What a driver spends on a thousand trials of twenty epochs: suggested, journalled, counted, sent to MLflow."""

from __future__ import annotations

import resource
import time
from contextlib import nullcontext
from pathlib import Path

from orchestrator.events import Observer, Report
from orchestrator.experiment import ExperimentSpec, Objective
from orchestrator.journal import Journal
from orchestrator.launch.cluster import connected
from orchestrator.launch.ledger import Ledger
from orchestrator.launch.metrics_driver import SweepMetrics
from orchestrator.launch.searcher import JournalSearch
from orchestrator.space import with_values
from orchestrator.tracking import MlflowObserver, SweepInfo
from orchestrator.tracking.spool import unsent
from tests.helpers.trials import experiment, score
from trainables.storage import Storage

TRIALS, EPOCHS = 1000, 20
METRICS = 12
"""Beside the score, an epoch."""


def peak() -> float:
    """MiB"""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def record(spec: ExperimentSpec, ledger: Ledger, search: JournalSearch, trials: int) -> None:
    for number in range(trials):
        config = search.suggest(str(number))
        assert isinstance(config, dict)
        run = with_values(spec.run, {**config["params"], **config["overrides"]})
        ledger.start(number)
        for epoch in range(1, EPOCHS + 1):
            metrics = {"dev/weighted_f1": score(run, epoch), **{f"loss/{n}": 1 / epoch for n in range(METRICS)}}
            ledger.report(number, [Report(epoch=epoch, metrics=metrics)])
        ledger.finish(number, "completed", values={"weighted_f1": score(run, EPOCHS)})
        search.on_trial_complete(str(number))


def test_a_thousand_trials(tmp_path: Path) -> None:
    spec = experiment(epochs=EPOCHS, scheduler={"type": "none"})
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    info = SweepInfo(sweep="bench-1", experiment="bench", stand_in=True, artifact_location=str(tmp_path / "files"))
    lines = []
    for name, observer in (
        ("journal and search alone", Observer()),
        ("with metrics", SweepMetrics("bench", "bench-1", Objective(), lambda: unsent(tmp_path / "spool"))),
        ("with MLflow", MlflowObserver(info, uri=uri, spool=tmp_path / "spool")),
    ):
        ledger = Ledger(Journal(Storage(str(tmp_path / name))), observer, spec.search, spec.run.metric)
        search = JournalSearch(ledger, spec, TRIALS, 1)
        with connected(None, cpus=1) if isinstance(observer, SweepMetrics) else nullcontext():
            began, busy, before = time.perf_counter(), time.process_time(), peak()
            record(spec, ledger, search, TRIALS)
            wall, took = time.perf_counter() - began, time.process_time() - busy
        sent = ""
        if isinstance(observer, MlflowObserver):
            assert observer.close(seconds=600)
            sent = f"; sent {time.perf_counter() - began:.1f} s after the start"
        lines.append(
            f"{name}: {1000 * wall / TRIALS:.1f} ms a trial, {took:.1f} CPU-s in all, "
            f"peak of memory {before:.0f} -> {peak():.0f} MiB{sent}"
        )
        assert len(ledger.ordered()) == TRIALS
    began = time.perf_counter()
    found = Journal(Storage(str(tmp_path / "with MLflow"))).read()
    lines.append(f"a driver that goes on reads them in {time.perf_counter() - began:.1f} s")
    assert [trial.state for trial in found] == ["completed"] * TRIALS
    print("", f"{TRIALS} trials of {EPOCHS} epochs and {METRICS + 1} metrics", *lines, sep="\n")
