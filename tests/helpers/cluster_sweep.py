"""A sweep by formula on a cluster that others have started, in a process of its own; also as a job there.

Arguments: storage root, trials, workers of a trial, seconds that an epoch takes.
Nothing is shared but the storage: each epoch that is run is an object `ran/<trial>-<epoch>-<host>-<process>` there.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from orchestrator.events import Observer, TrialRecord
from orchestrator.launch.cluster import connected
from orchestrator.launch.job_note import note_sweep
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.launch.trial import TrialJob
from tests.helpers.trials import experiment, restored, save_epoch, score
from trainables.errors import OrchError
from trainables.reporter import Reporter
from trainables.spec import RunSpec
from trainables.storage import Storage

FOLDER = "sweeps/fake"
CPUS = float(os.environ.get("CPUS", "0.9"))
"""So that a node of one CPU has room for one worker, and for the driver of a trial of two."""


def shared_work(job: TrialJob, run: RunSpec, number: int, reporter: Reporter, *, pause: float) -> dict[str, float]:
    """Epochs by formula, told to the storage alone."""
    value = 0.0
    for epoch in range(restored(reporter) + 1, run.training.epochs + 1):
        time.sleep(pause)
        job.sweep_storage.write_text(f"ran/{number}-{epoch}-{socket.gethostname()}-{os.getpid()}", "")
        value = score(run, epoch)
        reporter.report(epoch, {"dev/weighted_f1": value})
        if job.resources.workers == 1:
            save_epoch(reporter, epoch)
    return {"weighted_f1": value}


class Lines(Observer):
    def trial_changed(self, trial: TrialRecord) -> None:
        print(f"trial {trial.number} {trial.state} {trial.reason}".rstrip(), flush=True)


def plan(storage: str, trials: int, workers: int) -> SweepPlan:
    resources = {"trial": {"workers": workers, "cpus": CPUS}}
    spec = experiment(scheduler={"type": "none"}, epochs=3, resources=resources)
    cache = os.environ.get("ORCH_CACHE") or f"{tempfile.gettempdir()}/orch-cache"
    return SweepPlan(spec, storage, FOLDER, ("0" * 16,), cache, trials, None)


def ran(storage: Storage) -> Mapping[tuple[int, int], set[str]]:
    """(trial, epoch) -> hosts on which it was run."""
    found: dict[tuple[int, int], set[str]] = {}
    for info in storage.list(f"{FOLDER}/ran"):
        trial, epoch, rest = info.key.rpartition("/")[2].split("-", 2)
        found.setdefault((int(trial), int(epoch)), set()).add(rest.rpartition("-")[0])
    return found


def main(storage: str, trials: int, workers: int, pause: float) -> int:
    wanted, root = plan(storage, trials, workers), Storage(storage)
    try:
        with connected(os.environ["RAY_ADDRESS"], cpus=None, storage=root, cache=Path(wanted.cache)):
            note_sweep(root, FOLDER, trials)
            run_sweep(wanted, Lines(), work=partial(shared_work, pause=pause))
    except OrchError as error:
        print(f"error: {error}", flush=True)
        return error.exit_code
    print("the sweep is whole", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
