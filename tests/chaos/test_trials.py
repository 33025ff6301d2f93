"""Trials that are lost again and again, and machines that are taken away with notice: processes, workers, nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from orchestrator.events import Observer, TrialRecord
from orchestrator.journal import Journal
from orchestrator.launch.cluster import connected
from orchestrator.launch.group import Message, Tell, run_group
from orchestrator.launch.notice import NOTICE
from orchestrator.launch.placement import Cluster
from orchestrator.launch.reporters import Checkpoints, StoredReporter, silent
from orchestrator.launch.sweep import SweepPlan, run_sweep
from orchestrator.launch.trial import TrialJob, student_work
from orchestrator.resources import TeacherResources
from tests.helpers.runs import without_seconds
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.teachers import small_corpus, small_run
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from tests.helpers.trials import Notes, experiment, formula_work
from tests.integration.test_sweep_ray import epochs_run, plan
from tests.integration.test_trial_faults import EPOCHS, SILENT, begun, whole
from trainables.reporter import ListReporter, Reporter
from trainables.spec import RunSpec
from trainables.storage import Storage

ONCE = dict.fromkeys(range(1, EPOCHS + 1), 1)
NOTICE_SECONDS = 30
"""What machines are given."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with connected(None, cpus=4) as found:
        yield found


def test_what_is_lost_too_often_fails_and_only_the_machines_faults_are_tried_again(
    cluster: Cluster, tmp_path: Path
) -> None:
    spec = experiment(scheduler={"type": "none"}, resources=SILENT)
    given, notes = plan(tmp_path, spec, 5, 4, t2="die*", t3="hang*"), Notes()
    records = run_sweep(given, notes, work=formula_work)
    for number in (0, 1, 4):
        whole(records[number])
    lost, hung = records[2], records[3]
    assert [(one.state, one.machine, one.attempts) for one in (lost, hung)] == [
        ("failed", True, 3),
        ("failed", False, 3),
    ]
    assert lost.reason.startswith("its process was lost: ") and lost.reason.endswith(" (3 times)")
    assert hung.reason == "it told nothing for 0.25 minutes (resources.trial.silent_minutes) (3 times)"
    assert [
        text for text in notes.messages if "1 trials failed because of the machine, the first, trial-0002" in text
    ]

    notes = Notes()
    again = run_sweep(given, notes, work=formula_work)
    assert {number for number, _ in notes.states} == {2}
    whole(again[2])
    assert again[:2] + again[3:] == records[:2] + records[3:]
    assert begun(tmp_path, 2) == {**ONCE, 2: 4}, "its checkpoint was kept"
    run_sweep(given, notes, work=formula_work)
    assert begun(tmp_path, 2) == {**ONCE, 2: 4}


class Faulty(ListReporter):
    """Passes everything on; at the end of the second epoch, once, its process gets a SIGTERM, or hangs."""

    def __init__(self, inner: Reporter, marker: Path, *, hangs: bool = False) -> None:
        super().__init__()
        self.inner, self.marker, self.hangs = inner, marker, hangs

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.inner.report(epoch, metrics)
        if epoch == 2 and not self.marker.exists():
            self.marker.touch()
            if not self.hangs:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(3600 if self.hangs else 1)

    def should_stop(self) -> bool:
        return self.inner.should_stop()

    def stopped(self) -> None:
        self.inner.stopped()

    def save(self, folder: Path) -> None:
        self.inner.save(folder)

    def restore(self, folder: Path) -> bool:
        return self.inner.restore(folder)


def faulty_student(job: TrialJob, run: RunSpec, number: int, reporter: Reporter) -> dict[str, float]:
    """Something happens to the second of two workers, by the name of the file in the cache's folder."""
    from trainables.world import World

    cache = Path(job.cache)
    if World.current().rank == 1 and not (cache / "nothing").exists():
        reporter = Faulty(reporter, cache / "happened", hangs=(cache / "hangs").exists())
    return student_work(job, run, number, reporter)


@pytest.mark.parametrize("what", ["told-to-end", "hangs"])
def test_a_trial_of_two_workers_to_one_of_which_something_happens(
    cluster: Cluster, tmp_path: Path, what: str
) -> None:
    import ray

    def trained(what: str) -> TrialRecord:
        folder = tmp_path / what
        synthetic(folder)
        (folder / "cache").mkdir(exist_ok=True)
        (folder / "cache" / what).touch()
        resources = {"trial": {"cpus": 1, "workers": 2, "silent_minutes": 1.5}}
        spec = experiment(epochs=4, scheduler={"type": "none"}, resources=resources, space={})
        where = str(folder / "store"), "sweeps/two", (FINGERPRINT,), str(folder / "cache")
        every = 0.0 if what == "hangs" else 3600.0  # who is told to end saves all the same
        given = SweepPlan(spec, *where, 1, None, checkpoint_seconds=every)
        (record,) = run_sweep(given, Observer(), work=faulty_student)
        return record

    undisturbed, record = trained("nothing"), trained(what)
    assert (tmp_path / what / "cache/happened").exists()
    assert (record.state, record.attempts, record.epochs) == ("completed", 2, 4)
    assert curves(record) == curves(undisturbed)
    assert record.values == undisturbed.values
    assert {entry["state"] for entry in ray.util.placement_group_table().values()} == {"REMOVED"}


def curves(record: TrialRecord) -> list[dict[str, float]]:
    return without_seconds([report.metrics for report in record.reports])


def terminated_teacher(task: dict[str, Any], rank: int, tell: Tell) -> None:
    """The text teacher's fine-tuning; its second worker is told to end in the second epoch."""
    from trainables.teachers.identity import TeacherReads
    from trainables.teachers.tuning import fine_tune

    storage, run = Storage(task["storage"]), RunSpec.model_validate(task["run"])
    checkpoints = Checkpoints(storage, "unfinished/teachers/text")
    stored = StoredReporter(silent, checkpoints, NOTICE.given)
    reporter = Faulty(stored, Path(task["marker"])) if rank == 1 else stored
    with TemporaryDirectory() as folder:
        found = fine_tune("text", run, storage, TeacherReads(task["corpus"]), Path(folder), reporter)
    tell({"epochs": found["epochs"], "here": len(stored.history), "score": found["dev"]["weighted_f1"]})


def test_a_teacher_of_two_workers_of_which_one_is_told_to_end(cluster: Cluster, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    corpus, run = small_corpus(storage), small_run().model_dump(mode="json")
    run["teachers"]["text"]["training"]["epochs"] = 4
    told: list[Message] = []
    for name in ("whole", "terminated"):
        if name == "whole":
            (tmp_path / name).touch()
        task = {"storage": storage.root, "corpus": corpus, "run": run, "marker": str(tmp_path / name)}
        run_group(
            terminated_teacher, task, TeacherResources(workers=2), told.append, lost=0 if name == "whole" else 2
        )
        storage.remove("unfinished")
    assert (tmp_path / "terminated").exists()
    assert [(one["epochs"], one["here"]) for one in told] == [(4, 4), (4, 3)], "two epochs before, two after"
    assert told[0]["score"] == pytest.approx(told[1]["score"], abs=1e-6)


def start(folder: Path, trials: int, pause: float, *more: str, **given: Any) -> subprocess.Popen[bytes]:
    (folder / "cache").mkdir(parents=True)
    (folder / "cache" / "faults.json").write_text(json.dumps({"all": pause}), "utf-8")
    command = [sys.executable, "-m", "tests.helpers.sweep_process", str(folder), str(trials), "2", *more]
    output = (folder / "output.log").open("wb")
    return subprocess.Popen(command, start_new_session=True, stdout=output, stderr=subprocess.STDOUT, **given)


def wait_until(process: subprocess.Popen[bytes], folder: Path, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not ((folder / "cache/epochs.log").exists() and holds()):
        assert process.poll() is None and time.monotonic() < deadline, (folder / "output.log").read_text("utf-8")
        time.sleep(0.05)


@pytest.mark.parametrize("whom", ["driver", "everybody"])
@pytest.mark.parametrize("pause", [0.4, 600.0])
def test_a_driver_that_is_told_to_end_does_so_in_time_with_all_that_there_is(
    cluster: Cluster, tmp_path: Path, whom: str, pause: float
) -> None:
    """`everybody`: as a supervisor does that signals all processes of a service, those of Ray among them.

    The trials' epochs are short, or outlast the notice.
    """
    process = start(tmp_path, 4, pause)
    if pause < 1:
        wait_until(process, tmp_path, lambda: (0, 3) in begun_by(tmp_path))
    else:
        wait_for_running(process, tmp_path)
    if whom == "driver":
        process.send_signal(signal.SIGTERM)
    else:
        os.killpg(process.pid, signal.SIGTERM)
    try:
        status = process.wait(NOTICE_SECONDS)
    finally:
        process.kill()
    assert status == 130, (tmp_path / "output.log").read_text("utf-8")
    before = Journal(Storage(str(tmp_path / "store/sweeps/fake"))).read()
    assert before and {record.state for record in before} <= {"completed", "pruned", "queued"}
    if pause > 1:
        return
    (tmp_path / "cache/faults.json").write_text("{}", "utf-8")
    given = SweepPlan(
        experiment(), str(tmp_path / "store"), "sweeps/fake", ("0" * 16,), str(tmp_path / "cache"), 4, 2
    )
    records = run_sweep(given, Observer(), work=formula_work)
    assert all(record.finished and not record.machine for record in records)
    for record in records:
        again = sum(begun(tmp_path, record.number).values()) - record.epochs
        assert again <= record.attempts - 1, "an epoch that was saved ran again"


def begun_by(folder: Path) -> set[tuple[int, int]]:
    return {(trial, epoch) for trial, epoch, _ in epochs_run(folder)}


def wait_for_running(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Until two trials run; what they do takes too long to leave a trace."""
    journal = Journal(Storage(str(folder / "store/sweeps/fake")))
    deadline = time.monotonic() + 240
    while [record.state for record in journal.read()].count("running") < 2:
        assert process.poll() is None and time.monotonic() < deadline, (folder / "output.log").read_text("utf-8")
        time.sleep(0.2)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    with ray_nodes(tmp_path_factory.mktemp("ray"), [0, 1, 1]) as found:
        yield found


def test_the_trials_of_a_node_that_drains_go_on_elsewhere_with_no_epoch_twice(
    nodes: RayNodes, tmp_path: Path
) -> None:
    """`ray start --block` is told to end, as the first process of a container is when its machine is taken away."""
    environment = {**os.environ, **nodes.environment}
    process = start(tmp_path, 3, 1.0, nodes.address, env=environment)
    wait_until(process, tmp_path, lambda: {number for number, epoch in begun_by(tmp_path) if epoch == 2} >= {0, 1})
    ray_start = children(nodes.nodes[2].service.pid)[0]
    os.kill(ray_start, signal.SIGTERM)
    assert process.wait(240) == 0, (tmp_path / "output.log").read_text("utf-8")
    records = Journal(Storage(str(tmp_path / "store/sweeps/fake"))).read()
    assert [record.number for record in records] == [0, 1, 2]
    assert sorted(record.attempts for record in records) == [1, 1, 2]
    assert all(record.settled for record in records)
    epochs = Counter((trial, epoch) for trial, epoch, _ in epochs_run(tmp_path))
    assert set(epochs.values()) == {1}
    assert nodes.alive() == {"node-0", "node-1"}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
