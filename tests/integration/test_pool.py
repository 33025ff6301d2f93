"""A pool of processes: what is lost is done again, what fails is told, and nothing begins with too few."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SettingsError, StageError
from orchestrator.launch import pool
from orchestrator.launch.placement import Cluster
from orchestrator.launch.pool import Failure, attempted, pool_of
from orchestrator.resources import PoolResources
from trainables.errors import ArtifactError, MachineError, UserError


class Process:
    """Does jobs by number: 1 loses its process once, 2 always; the machine fails 3 once; 4 and 5 fail alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log("start")

    def do(self, number: int) -> Failure | None:
        return attempted(lambda: self._do(number))

    def _do(self, number: int) -> None:
        first = not (self._folder / f"{number}").exists()
        (self._folder / f"{number}").touch()
        self._log(str(number))
        if number == 2 or (number == 1 and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3 and first:
            raise MachineError("the disk is full")
        if number == 4:
            raise UserError("mend it")
        if number == 5:
            raise ArtifactError("it is damaged")

    def _log(self, what: str) -> None:
        with (self._folder / "log").open("a", encoding="utf-8") as log:
            log.write(f"{what} {os.getpid()}\n")


def run(folder: Path, jobs: list[int], given: PoolResources, later: int | None = None) -> dict[int, Failure | None]:
    """Every job's end; job `later` is added when the first has ended."""
    found: dict[int, Failure | None] = {}

    def send(process: Any, job: int) -> Any:
        return process.do.remote(job)

    with pool_of(Process, (folder,), given, "harvest", most=None, jobs=len(jobs), send=send) as processes:
        processes.add(jobs)
        for job, failure in processes.results():
            if later is not None and not found:
                processes.add([later], first=True)
            found[job] = failure
    return found


def log(folder: Path) -> list[tuple[str, int]]:
    """(what, process) in order."""
    lines = (folder / "log").read_text("utf-8").splitlines() if (folder / "log").exists() else []
    return [(what, int(process)) for what, process in (line.split() for line in lines)]


def test_a_lost_process_costs_its_job_an_attempt_and_the_others_nothing(cluster: Cluster, tmp_path: Path) -> None:
    found = run(tmp_path, [0, 1, 2, 3, 4, 5], PoolResources(cpus=0.5, workers=2), later=6)
    assert sorted(found) == [0, 1, 2, 3, 4, 5, 6]
    assert [found[job] for job in (0, 1, 3, 6)] == [None] * 4
    lost, users, ours = found[2], found[4], found[5]
    assert lost is not None and lost.machine and lost.reason.startswith("its process was lost: ")
    assert users == Failure("mend it", user=True) and isinstance(users.error("harvest"), UserError)
    assert ours == Failure("it is damaged") and str(ours.error("harvest")) == "harvest: it is damaged"
    attempts = [what for what, _ in log(tmp_path)]
    assert [attempts.count(str(job)) for job in range(7)] == [1, 2, 3, 2, 1, 1, 1]
    processes = {process for what, process in log(tmp_path) if what == "start"}
    assert len(processes) <= 2 + 5  # two, and one for each that was lost or left


def test_nothing_begins_with_fewer_processes_than_the_minimum(cluster: Cluster, tmp_path: Path) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    half = placement_group([{"CPU": 2}])
    assert half.wait(60)
    given, found = PoolResources(cpus=2, minimum=2), dict[int, Failure | None]()
    thread = threading.Thread(target=lambda: found.update(run(tmp_path, [10, 11, 12], given)))
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not log(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)  # long enough for a job to be sent, were one process enough
    finally:
        remove_placement_group(half)
        thread.join(120)
    assert found == dict.fromkeys([10, 11, 12])
    assert [what for what, _ in log(tmp_path)][:2] == ["start", "start"]


def test_a_pool_that_never_finds_room_ends(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.util.placement_group import placement_group, remove_placement_group

    monkeypatch.setattr(pool, "ROOM_SECONDS", 1)
    monkeypatch.setattr(pool, "LOOK_SECONDS", 0.5)
    whole = placement_group([{"CPU": 4}])
    assert whole.wait(60)
    try:
        with pytest.raises(StageError, match="harvest: no process found room within"):
            run(tmp_path, [0], PoolResources())
        with pytest.raises(SettingsError, match=r"resources\.harvest: a process of 5 CPUs fits on no node"):
            run(tmp_path, [0], PoolResources(cpus=5))
    finally:
        remove_placement_group(whole)
    assert log(tmp_path) == []
