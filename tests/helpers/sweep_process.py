"""A sweep in a process of its own, to be killed; arguments: folder, trials, concurrency, address of a cluster."""

from __future__ import annotations

import sys
from pathlib import Path

from orchestrator.errors import Interrupted
from orchestrator.events import Observer
from orchestrator.launch.cluster import connected
from orchestrator.launch.sweep import SweepPlan, run_sweep
from tests.helpers.trials import experiment, formula_work


def main(folder: Path, trials: int, concurrency: int, address: str | None = None) -> int:
    storage, cache = str(folder / "store"), str(folder / "cache")
    plan = SweepPlan(experiment(), storage, "sweeps/fake", ("0" * 16,), cache, trials, concurrency)
    try:
        with connected(address, cpus=None if address else 2):
            run_sweep(plan, Observer(), work=formula_work)
    except Interrupted as error:
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]))
