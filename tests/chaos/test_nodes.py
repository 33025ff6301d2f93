"""Machines that share S3 alone, each with its own network and /tmp: sweeps driven from one, or from outside.

And what is said of a machine that cannot take part.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.journal import Journal
from tests.helpers.cluster_sweep import FOLDER, ran
from tests.helpers.services.namespaces import REPOSITORY, Namespaces, namespaces
from tests.helpers.services.process import Service
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.services.s3 import S3Server, s3_server
from trainables.storage import Storage

SECONDS = 900
EPOCHS = 3


@dataclass
class Place:
    machines: Namespaces
    s3: S3Server
    nodes: RayNodes
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Of a driver: each machine keeps its cache in its own /tmp."""
        return {**self.nodes.environment, "RAY_ADDRESS": self.nodes.address}

    def sweep(self, storage: str, trials: int, workers: int, pause: float = 0) -> tuple[int, str]:
        """Driven from the head's machine."""
        service = self.machines.popen(0, self.command(storage, trials, workers, pause), self.environment)
        return service.wait(SECONDS), service.output()

    def sweep_by_client(self, storage: str, trials: int, workers: int) -> tuple[int, str]:
        """Driven from here, which is no machine of the cluster."""
        environment = {**self.environment, "RAY_ADDRESS": self.nodes.client}
        log = self.folder / f"client-{workers}.log"
        with Service(self.command(storage, trials, workers), log, None, environment) as service:
            return service.wait(SECONDS), service.output()

    def command(self, storage: str, trials: int, workers: int, pause: float = 0) -> list[str]:
        words = [storage, str(trials), str(workers), str(pause)]
        return [sys.executable, "-m", "tests.helpers.cluster_sweep", *words]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("nodes")
    with ExitStack() as stack:
        machines = stack.enter_context(namespaces(folder, 3))
        s3 = stack.enter_context(s3_server(folder, host=machines.gateway))
        environment = {
            **s3.environment,
            "PAUSE": "2",
            "ORCH_CACHE": "/tmp/own-cache",
            "ORCH_STORAGE_PATIENCE": "120",
        }
        nodes = stack.enter_context(ray_nodes(folder, [1, 1], environment, machines=machines))
        yield Place(machines, s3, nodes, folder)


@pytest.fixture
def storage(place: Place, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, value in place.s3.environment.items():
        monkeypatch.setenv(name, value)
    return Storage(f"{place.s3.make_bucket(f'bucket-{abs(hash(request.node.name))}')}/root")


def check_whole(storage: Storage, trials: int, workers: int) -> None:
    """Every trial once and whole, each epoch by every worker, on machines of their own; nothing else is left."""
    records = Journal(storage.at(FOLDER)).read()
    assert [(r.number, r.state, r.reason, r.epochs, r.attempts) for r in records] == [
        (number, "completed", "", EPOCHS, 1) for number in range(trials)
    ]
    assert sorted(ran(storage)) == [(trial, epoch) for trial in range(trials) for epoch in range(1, EPOCHS + 1)]
    assert len(storage.list(f"{FOLDER}/ran")) == trials * EPOCHS * workers
    assert {len(hosts) for hosts in ran(storage).values()} == {workers}
    assert (storage.list("ray"), storage.list("probes")) == ([], [])


def test_trials_of_one_worker_over_machines_that_share_s3_alone(place: Place, storage: Storage) -> None:
    code, output = place.sweep(storage.root, 3, 1, pause=10)
    assert code == 0, output[-3000:]
    check_whole(storage, 3, 1)
    assert set().union(*ran(storage).values()) == {"node-0", "node-1"}


def test_trials_of_two_workers_on_two_machines(place: Place, storage: Storage) -> None:
    code, output = place.sweep(storage.root, 2, 2)
    assert code == 0, output[-3000:]
    check_whole(storage, 2, 2)
    assert {group["state"] for group in place.nodes.placement_groups()} == {"REMOVED"}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_driven_by_a_client_from_elsewhere(place: Place, storage: Storage, workers: int) -> None:
    code, output = place.sweep_by_client(storage.root, 4 // workers, workers)
    assert code == 0, output[-3000:]
    check_whole(storage, 4 // workers, workers)
    assert {group["state"] for group in place.nodes.placement_groups()} == {"REMOVED"}


def test_a_storage_that_is_a_folder_of_the_driver_alone_is_refused(place: Place) -> None:
    code, output = place.sweep("/tmp/store", 1, 1)
    assert code == 2, output[-3000:]
    assert f"error: node node-1 ({place.nodes.nodes[1].address}): storage /tmp/store: it does not see" in output
    assert "give a storage that every node reaches, such as s3://bucket/folder" in output


def test_a_driver_on_no_machine_of_the_cluster_is_told_the_ways(place: Place, storage: Storage) -> None:
    command = place.command(storage.root, 1, 1)
    with Service(command, place.folder / "outside.log", None, place.environment) as service:
        code, output = service.wait(SECONDS), service.output()
    assert code == 2, output[-3000:]
    assert (
        "by host:port a driver must run on a machine of the cluster, and this is none; from elsewhere give"
        in output
    )


def test_a_node_with_another_version_of_the_code_is_named(place: Place, storage: Storage) -> None:
    other = place.machines.inside(1, "/tmp") / "other"
    shutil.copytree(REPOSITORY / "trainables", other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "__init__.py").write_text('"""Another version."""\n', "utf-8")
    place.machines.popen(1, ["mount", "--bind", "/tmp/other", f"{REPOSITORY}/trainables"]).wait(SECONDS)
    try:
        code, output = place.sweep(storage.root, 1, 1)
    finally:
        place.machines.popen(1, ["umount", f"{REPOSITORY}/trainables"]).wait(SECONDS)
    assert code == 2, output[-3000:]
    assert f"error: node node-1 ({place.nodes.nodes[1].address}) runs other code (" in output
    assert "`orch submit` takes a checkout's code with the job" in output
    assert storage.list(FOLDER) == []


def test_a_node_without_the_keys_of_the_storage_is_named(place: Place, storage: Storage) -> None:
    keys = {name: "" for name in place.nodes.environment if name.startswith("AWS_") and "KEY" in name}
    whole = dict(place.nodes.environment)
    place.nodes.environment = {**whole, **keys}
    index = place.nodes.add(1)
    place.nodes.environment = whole
    code, output = place.sweep(storage.root, 1, 1)
    assert code == 2, output[-3000:]
    assert f"error: node node-{index} ({place.nodes.nodes[index].address}): storage {storage.root}" in output
    assert whole["AWS_SECRET_ACCESS_KEY"] not in output
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in output
