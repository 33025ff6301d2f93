"""Trials and groups of several workers through Ray Train."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StageError
from orchestrator.events import Observer
from orchestrator.launch import group
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.placement import Cluster
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.launch.trainer import reserved_by
from orchestrator.launch.trial import transfer_set
from orchestrator.resources import TrialResources
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import experiment
from trainables.errors import DivergedError, MachineError, UserError
from trainables.reporter import ListReporter

TWO = TrialResources(cpus=1, workers=2)


def gather_ranks(task: Any, rank: int, tell: Tell) -> None:
    import torch
    import torch.distributed as dist

    total = torch.tensor([float(rank + 1)])
    dist.all_reduce(total)
    tell({"sum": float(total), "task": task})


def lose_a_worker(task: Any, rank: int, tell: Tell) -> None:
    marker = Path(task) / "lost"
    if rank == 1 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    gather_ranks("after", rank, tell)


def diverge(task: Any, rank: int, tell: Tell) -> None:
    raise DivergedError("epoch 1: loss is nan")


def mistake(task: Any, rank: int, tell: Tell) -> None:
    if rank == 1:
        raise UserError("mend it so")
    gather_ranks(task, rank, tell)


def test_a_group_tells_what_its_first_worker_says_and_survives_a_lost_worker(
    cluster: Cluster, tmp_path: Path
) -> None:
    told: list[Message] = []
    run_group(lose_a_worker, str(tmp_path), TWO, told.append)
    assert (tmp_path / "lost").exists()
    assert told == [{"sum": 3.0, "task": "after"}]


@pytest.mark.parametrize(
    ("work", "error", "text"), [(diverge, StageError, "loss is nan"), (mistake, UserError, "mend")]
)
def test_our_own_errors_end_a_group_at_once(cluster: Cluster, work: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        run_group(work, None, TWO, lambda message: None)


def wait_for_ever(task: Any, rank: int, tell: Tell) -> None:
    tell({"started": True})
    time.sleep(3600)


def test_a_group_that_is_stopped_gives_back_what_it_had_reserved(cluster: Cluster) -> None:
    import ray

    class StoppedError(Exception):
        pass

    def stop(message: Message) -> None:
        raise StoppedError

    def groups() -> dict[str, str]:
        return {name: entry["state"] for name, entry in ray.util.placement_group_table().items()}

    earlier, free = groups(), ray.available_resources().get("CPU", 0)
    with pytest.raises(StoppedError):
        run_group(wait_for_ever, None, TWO, stop)
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0) < free and time.monotonic() < deadline:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] >= free
    assert {state for name, state in groups().items() if name not in earlier} == {"REMOVED"}


def test_a_group_that_finds_no_room_reserves_nothing_for_later(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its placement group waits for room when its controller ends: left there it would be given the room."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    controllers: list[str] = []
    waiting: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            waiting.update(found for one in controllers for found in reserved_by(one))
            if waiting:
                monkeypatch.setattr(group, "ROOM_SECONDS", 0.0)

    whole = placement_group([{"CPU": 4}])
    ray.get(whole.ready())
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with pytest.raises(MachineError, match=r"2 worker\(s\) of 1 CPUs and 0 GPUs found no room within 0"):
            run_group(gather_ranks, None, TWO, lambda message: None, controllers.append)
    finally:
        ended.set()
        watcher.join()
        remove_placement_group(whole)
    assert (len(controllers), len(waiting)) == (1, 1)
    assert reserved_by(controllers[0]) == []
    assert {ray.util.placement_group_table()[one]["state"] for one in waiting} == {"REMOVED"}


def test_a_trial_of_two_workers_scores_like_one_of_one(cluster: Cluster, tmp_path: Path) -> None:
    """Each rank draws its own dropout, so dropout is off; what is left is rounding."""
    from trainables.run import train

    synthetic(tmp_path)
    resources = {"trial": {"cpus": 1, "workers": 2}}
    spec = experiment(epochs=2, scheduler={"type": "none"}, resources=resources, space={})
    student = spec.run.student.model_copy(update={"dropout": 0.0, "embedding_dropout": 0.0})
    spec = spec.model_copy(update={"run": spec.run.model_copy(update={"student": student})})
    plan = SweepPlan(spec, str(tmp_path / "store"), "sweeps/two", (FINGERPRINT,), str(tmp_path / "cache"), 1, None)
    (record,) = run_sweep(plan, Observer())
    assert (record.state, record.epochs, record.reason) == ("completed", 2, "")
    data = transfer_set(str(tmp_path / "store"), FINGERPRINT, str(tmp_path / "cache"))
    alone = train(spec.run, data, ListReporter(), threads=1)
    assert record.reports[0].metrics["loss"] == pytest.approx(alone.curves[0]["loss"], rel=1e-3)
    assert (tmp_path / "store/sweeps/two/predictions.parquet").exists()
