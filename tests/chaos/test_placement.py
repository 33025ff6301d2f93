"""What is counted is what Ray places; what is refused and mended runs; and what joins or goes is made do with."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import Observer, Report, TrialRecord
from orchestrator.launch import trainer
from orchestrator.launch.cluster import connected
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.placement import Cluster, check_resources, current
from orchestrator.launch.pool import Failure, attempted, pool_of
from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from orchestrator.launch.shapes import Need, need_of, slots
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.launch.trial import TrialJob
from orchestrator.resources import PoolResources, Resources, TeacherResources
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.teachers import CORPUS, small_corpus, small_run
from tests.helpers.trials import experiment, score
from trainables.reporter import ListReporter, Reporter
from trainables.spec import RunSpec
from trainables.storage import Storage

PATIENCE = 300.0


@contextmanager
def on(nodes: RayNodes, patch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """This process as a driver on the nodes."""
    for name, value in nodes.environment.items():
        if name.startswith("RAY_"):
            patch.setenv(name, value)
    with connected(nodes.address, cpus=None) as found:
        yield found


def states() -> list[str]:
    """Of every placement group that there ever was."""
    import ray

    return [group["state"] for group in ray.util.placement_group_table().values()]


def living() -> list[str]:
    """Classes of the actors that live, but for the one of Ray's that lives as long as the cluster."""
    from ray._private.state import actors

    found = [actor["ActorClassName"] for actor in actors().values() if actor["State"] != "DEAD"]
    return [name for name in found if name != "_AutoscalingCoordinatorActor"]


def until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"no {what}"
        time.sleep(0.2)


class Slow(Observer):
    """A driver that takes longer over an epoch than the trial does."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.behind: list[int] = []
        """How many epochs of the trial had run unheard, at each that was told."""

    def trial_reported(self, trial: TrialRecord, report: Report) -> None:
        self.behind.append(len((self._folder / f"run-{trial.number}").read_text("utf-8")) - report.epoch)
        time.sleep(1.0)


def together(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """Epochs by formula that all workers of a trial run side by side."""
    import torch.distributed as dist

    for epoch in range(1, run.training.epochs + 1):
        dist.barrier()
        time.sleep(0.4)
        if dist.get_rank() == 0:
            with (Path(job.cache) / f"run-{number}").open("a", encoding="utf-8") as log:
                log.write(".")
        reporter.report(epoch, {"dev/weighted_f1": score(run, epoch), "loss": 1 / epoch})
    return {"weighted_f1": score(run, run.training.epochs)}


def test_a_plan_that_could_deadlock_is_refused_and_runs_as_advised_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two CPUs, two workers and a driver: with the driver placed, the second worker waits for ever. As advised, all
    fits; ASHA ends trials whose workers run, no dashboard says so to anybody, and the driver is always behind."""
    with ray_nodes(tmp_path, [2]) as nodes, on(nodes, monkeypatch) as cluster:
        given = {"trial": {"cpus": 1, "workers": 2}}
        with pytest.raises(SettingsError, match=r"need 2\.01 CPUs; .* have 2: no trial can ever") as refused:
            check_resources(cluster, Resources.model_validate(given))
        advised = re.search(r"trial\.cpus to at most ([0-9.]+)", str(refused.value))
        assert advised is not None
        given["trial"]["cpus"] = float(advised[1])  # type: ignore[assignment]
        spec = experiment(resources=given, epochs=10)
        check_resources(cluster, spec.resources)
        (tmp_path / "cache").mkdir()
        plan = SweepPlan(spec, str(tmp_path / "store"), "sweeps/two", ("0" * 16,), str(tmp_path / "cache"), 5, None)
        slow = Slow(tmp_path / "cache")
        records = run_sweep(plan, slow, work=together)
        until(lambda: set(states()) == {"REMOVED"}, "end of every placement group")
        until(lambda: not living(), "end of every process")
    ended = [record.state for record in records]
    assert max(slow.behind) >= 3
    assert len(ended) == 5 and set(ended) == {"completed", "pruned"}
    for record in records:
        assert [report.epoch for report in record.reports] == list(range(1, record.epochs + 1))
        if record.state == "completed":
            assert record.epochs == 10 and record.values == {"weighted_f1": pytest.approx(_best(record, spec.run))}


def _best(record: TrialRecord, run: RunSpec) -> float:
    from orchestrator.space import with_values

    return score(with_values(run, {**record.params, **record.overrides}), 10)


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ("harvest", {"cpus": 1}),
    ("harvest", {"cpus": 2}),
    ("harvest", {"cpus": 0.5, "gpus": 0.4}),
    ("harvest", {"gpus": 1, "accelerator": "A100"}),
    ("teacher", {"cpus": 2, "workers": 2}),
    ("teacher", {"cpus": 1.5, "workers": 3}),
    ("teacher", {"gpus": 1, "workers": 2}),
    ("trial", {"cpus": 2, "workers": 2}),
    ("trial", {"cpus": 0.5, "workers": 3}),
]


def test_ray_places_as_many_as_are_counted_and_no_more() -> None:
    """Reservations alone, nothing runs: on a head without CPUs, a node of 4 with 2 GPUs, one of 3 and one of 2."""
    import ray
    from ray.cluster_utils import Cluster as Machines
    from ray.util.placement_group import placement_group, remove_placement_group

    nodes = Machines(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=4, num_gpus=2, resources={"accelerator_type:A100": 1})
        nodes.add_node(num_cpus=3)
        nodes.add_node(num_cpus=2)
        ray.init(nodes.address, log_to_driver=False)
        until(lambda: len(current().nodes) == 4, "four nodes")
        for role, given in SHAPES:
            need = need_of(role, getattr(Resources.model_validate({role: given}), role))  # type: ignore[arg-type]
            count = slots(current(), need)
            made = [placement_group([{"CPU": 0.01}]) for _ in range(count if need.driver else 0)]
            assert all(one.wait(60) for one in made)
            groups = [placement_group([need.bundle()] * need.group) for _ in range(count)]
            assert count >= 1 and all(one.wait(60) for one in groups), (role, given)
            if not need.driver:  # with drivers it is the worst that is counted, not what has come
                assert not _more(need).wait(3), (role, given)
            for one in ray.util.placement_group_table():
                remove_placement_group(_by_id(one))
            until(lambda: set(states()) == {"REMOVED"}, "room")
    finally:
        ray.shutdown()
        nodes.shutdown()


def _more(need: Need) -> Any:
    from ray.util.placement_group import placement_group

    return placement_group([need.bundle()] * need.group)


def _by_id(name: str) -> Any:
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup

    return PlacementGroup(PlacementGroupID.from_hex(name))


class Tuning(StoredReporter):
    """Epochs long enough for the cluster to change between them; ends when the test says so."""

    def report(self, epoch: int, metrics: Any) -> None:
        super().report(epoch, metrics)
        time.sleep(1.0)

    def should_stop(self) -> bool:
        return (Path(self.checkpoints.storage.root) / "enough").exists()

    def stopped(self) -> None:
        return None


def tune(task: str, rank: int, tell: Tell) -> None:
    import torch

    from trainables.teachers.distributed import world_size

    torch.set_num_threads(1)
    storage, world = Storage(task), world_size()

    def told(reports: list[Report]) -> None:
        for report in reports:
            tell({"epoch": report.epoch, "loss": report.metrics["loss"], "world": world})

    reporter = Tuning(told if rank == 0 else silent, Checkpoints(storage, "unfinished"))
    tune_text(storage, reporter)


def tune_text(storage: Storage, reporter: Reporter) -> None:
    """The text teacher without dropout, which each worker draws for itself."""
    import torch

    from trainables.teachers.identity import TeacherReads
    from trainables.teachers.task import make_task
    from trainables.teachers.tuning import TuningLoop

    task = make_task("text", small_run(epochs=400), storage, TeacherReads(CORPUS), "cpu")
    for module in task.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    TuningLoop(task).train(reporter)


def test_an_elastic_group_takes_what_comes_makes_do_with_what_is_left_and_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "30")
    monkeypatch.setattr(trainer, "ELASTIC_SECONDS", 5.0)
    storage = Storage(str(tmp_path / "store"))
    small_corpus(storage)
    told: list[Message] = []
    with ray_nodes(tmp_path, [1]) as nodes, on(nodes, monkeypatch):

        def follow(message: Message) -> None:
            told.append(message)
            worlds = [one["world"] for one in told]
            if worlds == [1, 1]:
                nodes.begin(1)
            if worlds.count(2) == 2 and worlds[-1] == 2:
                nodes.kill(1)
            if 2 in worlds and worlds[-2:] == [1, 1]:
                (tmp_path / "store" / "enough").touch()

        given = TeacherResources(workers=2, minimum=1)
        run_group(tune, storage.root, given, follow)
        until(lambda: set(states()) == {"REMOVED"}, "end of every placement group")
    changes = [one["world"] for i, one in enumerate(told) if i == 0 or one["world"] != told[i - 1]["world"]]
    assert changes == [1, 2, 1]
    last = max(one["epoch"] for one in told)
    alone = ListReporter(stop_after=last)
    tune_text(storage, alone)
    expected = {epoch: metrics["loss"] for epoch, metrics in alone.reports}
    unheard = set(range(1, last + 1)) - {one["epoch"] for one in told}
    assert len(unheard) <= 2  # kept, but its worker ended before it could say so, once at each change
    for one in told:
        assert one["loss"] == pytest.approx(expected[one["epoch"]], rel=1e-3)


class Process:
    """Writes down where it runs, and takes its time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def do(self, number: int) -> Failure | None:
        return attempted(lambda: self._do(number))

    def _do(self, number: int) -> None:
        import ray

        node = ray.get_runtime_context().get_node_id()
        with (self._folder / "begun").open("a", encoding="utf-8") as log:
            log.write(f"{number} {node} {os.getpid()}\n")
        time.sleep(1.0)
        (self._folder / f"done-{number}").write_text(node, "utf-8")


def test_a_pool_uses_nodes_that_come_and_does_without_those_that_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, found = list(range(60)), dict[int, Failure | None]()
    with ray_nodes(tmp_path, [1]) as nodes, on(nodes, monkeypatch):
        nodes.begin(1)

        def send(process: Any, job: int) -> Any:
            return process.do.remote(job)

        def used() -> set[str]:
            return {(tmp_path / f"done-{job}").read_text("utf-8") for job in found if found[job] is None}

        killed = 0
        with pool_of(Process, (tmp_path,), PoolResources(), "confirm", most=None, jobs=60, send=send) as pool:
            pool.add(jobs)
            for job, failure in pool.results():
                found[job] = failure
                if not killed and len(used()) == 2:
                    killed = len(found)
                    nodes.kill(1)
    assert found == dict.fromkeys(jobs)
    assert 0 < killed < 60
    begun = [int(line.split()[0]) for line in (tmp_path / "begun").read_text("utf-8").splitlines()]
    assert set(begun) == set(jobs) and len(begun) <= 62  # what ran on the node that went, once more
