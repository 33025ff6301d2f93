"""Nodes x needs -> how many fit, and what is told where none does."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator.launch.growth import groups_of, growth, node_of
from orchestrator.launch.placement import check_resources, concurrency
from orchestrator.launch.refusal import refusal
from orchestrator.launch.shapes import Cluster, Need, Node, Role, lost, need_of, slots, units
from orchestrator.resources import NodeGroup, Resources, WorkerResources
from orchestrator.settings import load

GPU = Node(8, 2, frozenset({"A100"}))
T4 = Node(4, 1, frozenset({"T4"}))
HEAD = Node(0)
DRIVERS = Node(0, drivers=16)


def cluster(*nodes: Node | float, **more: Any) -> Cluster:
    return Cluster("here", tuple(node if isinstance(node, Node) else Node(node) for node in nodes), **more)


def need(role: Role, **given: Any) -> Need:
    return need_of(role, getattr(Resources.model_validate({role: given}), role))


@pytest.mark.parametrize(
    ("nodes", "role", "given", "expected"),
    [
        ([4], "trial", {}, 4),
        ([4], "trial", {"cpus": 1.5}, 2),
        ([0.3], "trial", {"cpus": 0.1}, 3),  # 0.3 // 0.1 is 2 in floating point
        ([2, 2, 0], "trial", {"cpus": 3}, 0),
        ([HEAD, GPU], "trial", {"gpus": 1}, 2),
        ([GPU], "trial", {"cpus": 8, "gpus": 1}, 1),
        ([GPU], "harvest", {"cpus": 0.5, "gpus": 0.25}, 8),
        ([GPU], "harvest", {"cpus": 0.5, "gpus": 0.4}, 4),  # two a GPU: none gets a share of both
        ([GPU], "harvest", {"cpus": 0.5, "gpus": 0.7}, 2),
        ([GPU], "harvest", {"cpus": 0.5, "gpus": 2}, 1),
        ([T4, T4], "harvest", {"gpus": 2}, 0),
        ([GPU, T4], "harvest", {"gpus": 1}, 3),
        ([GPU, T4], "harvest", {"gpus": 1, "accelerator": "T4"}, 1),
        ([GPU, T4], "harvest", {"gpus": 1, "accelerator": "H100"}, 0),
        ([2, 2, 2], "teacher", {"workers": 3}, 2),  # PACK leaves none over: six places are two groups
        ([3, 3], "teacher", {"cpus": 2, "workers": 2}, 1),
        ([3], "teacher", {"cpus": 2, "workers": 2}, 0),
        ([3], "teacher", {"cpus": 2, "workers": 2, "minimum": 1}, 1),
        ([DRIVERS, 4], "trial", {"workers": 2}, 2),
        ([replace(DRIVERS, drivers=1), 4], "trial", {"workers": 2}, 1),
        ([4], "trial", {"workers": 2}, 1),  # two drivers take the room of a worker
        ([4.02], "trial", {"workers": 2}, 2),
        ([4.01], "trial", {"workers": 2}, 1),
        ([2, 2, 0], "trial", {"cpus": 2, "workers": 2}, 0),
        ([2, 2, 1], "trial", {"cpus": 2, "workers": 2}, 0),  # the driver may sit on the small node, or not
        ([2, 2, 2], "trial", {"cpus": 2, "workers": 2}, 1),
        ([2] * 7, "trial", {"cpus": 2, "workers": 2}, 2),
        ([2] * 8, "trial", {"cpus": 1.99, "workers": 2}, 3),  # eight places; two drivers on a node take one
        ([Node(8, 2), Node(8, 2)], "trial", {"gpus": 1, "workers": 2}, 2),  # CPUs to spare: drivers cost nothing
    ],
)
def test_slots(nodes: list[Node | float], role: Role, given: dict[str, Any], expected: int) -> None:
    assert slots(cluster(*nodes), need(role, **given)) == expected


def worst(nodes: list[Node], worker: WorkerResources, drivers: int) -> int:
    """The places lost at most, by trying every way to spread the drivers over the nodes."""
    whole, found = sum(node.room(worker) for node in nodes), 0
    for spread in product(range(drivers + 1), repeat=len(nodes)):
        left = [units(node.cpus) - 100 * count for node, count in zip(nodes, spread, strict=True)]
        if sum(spread) == drivers and min(left) >= 0:
            after = sum(replace(n, cpus=cpus / 10_000).room(worker) for n, cpus in zip(nodes, left, strict=True))
            found = max(found, whole - after)
    return found


@pytest.mark.parametrize("cpus", [0.02, 0.03, 0.5, 1])
@pytest.mark.parametrize("sizes", [(1,), (0.05, 0.04), (1.01, 1), (0.52, 0.5, 0.06)])
def test_places_lost_to_drivers_are_those_of_their_worst_spread(sizes: tuple[float, ...], cpus: float) -> None:
    nodes, worker = [Node(size) for size in sizes], WorkerResources(cpus=cpus)
    for drivers in range(1, 5):
        if drivers <= min(units(size) // 100 for size in sizes):
            assert lost(cluster(*nodes), worker, drivers) == worst(nodes, worker, drivers)


def test_places_lost_on_a_node_with_cpus_to_spare_are_never_counted_too_few() -> None:
    node, worker = Node(0.1, 2), WorkerResources(cpus=0.02, gpus=1)
    for drivers in range(1, 10):
        assert lost(cluster(node), worker, drivers) >= worst([node], worker, drivers)
    assert lost(cluster(node), worker, 3) == 0


@pytest.mark.parametrize(
    ("nodes", "role", "given", "told"),
    [
        (
            [2, 2, 0],
            "trial",
            {"cpus": 2, "workers": 2},
            "resources.trial: 2 workers of 2 CPUs and a driver of 0.01 CPU need 4.01 CPUs; the cluster's nodes "
            "have 2, 2 and 0: no trial can ever start; set resources.trial.cpus to at most 1.99, or set "
            "resources.trial.workers to at most 1, or start a node with --resources '{\"orch_driver\": 64}'",
        ),
        (
            [2, 2, 1],
            "trial",
            {"cpus": 2, "workers": 2},
            "resources.trial: 2 workers of 2 CPUs and a driver of 0.01 CPU need 4.01 CPUs; the cluster's nodes "
            "have 2, 2 and 1: the driver may take the place of a worker, and then no trial ever starts; set "
            "resources.trial.cpus to at most 1.99, or set resources.trial.workers to at most 1, or start a node "
            "with --resources '{\"orch_driver\": 64}'",
        ),
        (
            [4],
            "trial",
            {"cpus": 3, "workers": 2},
            "resources.trial: 2 workers of 3 CPUs and a driver of 0.01 CPU need 6.01 CPUs; the cluster's nodes "
            "have 4: there is room for 1 at once, so no trial can ever start; set resources.trial.cpus to at "
            "most 1.995, or set resources.trial.workers to at most 1",
        ),
        (
            [4, 2],
            "confirm",
            {"cpus": 5},
            "resources.confirm: a process of 5 CPUs fits on no node; the cluster's nodes have 4 and 2: no model "
            "can ever be confirmed; set resources.confirm.cpus to at most 4",
        ),
        (
            [HEAD, GPU, T4],
            "harvest",
            {"cpus": 4, "gpus": 1, "accelerator": "H100"},
            "resources.harvest: a process of 4 CPUs and 1 H100 GPU fits on no node; the cluster's nodes have 8 "
            "CPUs with 2 GPUs (A100), 4 CPUs with 1 GPU (T4) and 0 CPUs with 0 GPUs: nothing can ever be "
            "harvested; set resources.harvest.accelerator to A100 or T4",
        ),
        (
            [T4, T4],
            "teacher",
            {"gpus": 1, "workers": 3},
            "resources.teacher: 3 workers of 1 CPU and 1 GPU need 3 CPUs and 3 GPUs; the cluster's nodes have 4 "
            "CPUs with 1 GPU (T4) and 4 CPUs with 1 GPU (T4): there is room for 2 at once, so no teacher can "
            "ever be trained; set resources.teacher.workers to at most 2",
        ),
        (
            [T4] * 7,
            "harvest",
            {"gpus": 2},
            "resources.harvest: a process of 1 CPU and 2 GPUs fits on no node; the cluster's nodes have 7 times "
            "4 CPUs with 1 GPU (T4): nothing can ever be harvested; set resources.harvest.gpus to at most 1",
        ),
        (
            [2],
            "confirm",
            {"minimum": 3},
            "resources.confirm: 3 processes of 1 CPU need 3 CPUs; the cluster's nodes have 2: there is room for "
            "2 at once, so no model can ever be confirmed; set resources.confirm.cpus to at most 0.6666, or set "
            "resources.confirm.minimum to at most 2",
        ),
        (
            [HEAD],
            "trial",
            {},
            "resources.trial: a worker of 1 CPU fits on no node; the cluster's nodes have 0: no trial can ever "
            "start; ask for less, or add nodes",
        ),
    ],
)
def test_a_refusal_has_the_sums_and_what_would_be_enough(
    nodes: list[Node | float], role: Role, given: dict[str, Any], told: str
) -> None:
    assert refusal(cluster(*nodes), need(role, **given)) == told


@pytest.mark.parametrize("nodes", [[2, 2, 0], [4], [1.5, 1], [GPU, T4, HEAD]])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("cpus", [1.0, 2.0, 3.0, 9.0])
@pytest.mark.parametrize("gpus", [0, 1, 3])
def test_what_a_refusal_advises_is_enough_and_no_more_than_that(
    nodes: list[Node | float], workers: int, cpus: float, gpus: float
) -> None:
    found, given = cluster(*nodes), {"cpus": cpus, "gpus": gpus, "workers": workers}
    told = refusal(found, need("trial", **given))
    for part in told.split("set resources.trial.")[1:]:
        field, _, value = part.split(",")[0].split(";")[0].replace("to at most ", "").partition(" ")
        mended = {**given, field: int(value) if field == "workers" else float(value)}
        assert refusal(found, need("trial", **mended)) == ""
        more = {**mended, field: mended[field] + (0.01 if field == "cpus" else 1)}
        assert refusal(found, need("trial", **more)) != ""
    if "orch_driver" in told:
        assert refusal(cluster(*nodes, DRIVERS), need("trial", **given)) == ""


def test_the_check_asks_for_room_for_every_role_that_is_still_to_come() -> None:
    resources = Resources.model_validate({"teacher": {"cpus": 8}, "confirm": {"cpus": 5}})
    with pytest.raises(SettingsError, match=r"^resources\.teacher: a worker of 8 CPUs fits on no node"):
        check_resources(cluster(4), resources)
    with pytest.raises(SettingsError, match=r"^resources\.confirm: a process of 5 CPUs fits on no node"):
        check_resources(cluster(4), resources, done={"teach", "harvest"})
    check_resources(cluster(4), resources, done=["teach", "harvest", "confirm"])
    check_resources(cluster(4, 8), resources)


@pytest.mark.parametrize(
    ("role", "given", "wanted", "expected"),
    [("trial", {}, None, 4), ("trial", {}, 3, 3), ("trial", {}, 9, 4), ("confirm", {"workers": 2}, None, 2),
     ("confirm", {"workers": 3}, 2, 2), ("harvest", {"workers": 9}, None, 4), ("teacher", {"workers": 2}, 1, 1)],
)  # fmt: skip
def test_concurrency(role: Role, given: dict[str, Any], wanted: int | None, expected: int) -> None:
    resources = getattr(Resources.model_validate({role: given}), role)
    assert concurrency(cluster(4), resources, wanted, role) == expected


@pytest.mark.parametrize(
    ("growing", "role", "given", "expected"),
    [
        ({"growth": ((GPU, 3),)}, "trial", {"gpus": 1}, 6),
        ({"growth": ((GPU, 3),), "limits": {"GPU": 4.0}}, "trial", {"gpus": 1}, 4),
        ({"growth": ((Node(2), 2),)}, "trial", {"cpus": 2, "workers": 2}, 1),
        ({"growth": ((Node(0, drivers=2), 1),)}, "trial", {"workers": 2}, 1),
    ],
)
def test_nodes_that_may_come_count(growing: Any, role: Role, given: dict[str, Any], expected: int) -> None:
    assert slots(cluster(2, **growing), need(role, **given)) == expected


def test_a_refusal_names_the_nodes_that_may_come() -> None:
    told = refusal(cluster(2, 0, growth=((Node(4), 3),)), need("trial", cpus=8))
    assert "the cluster's nodes have 2 and 0, and it may start 4, 4 and 4 more: no trial can ever start" in told


def test_of_a_group_what_is_there_may_not_come_again() -> None:
    groups = {"gpu": (GPU, 3), "small": (Node(4), 2), "head": (Node(1), 1)}
    present = [("", Node(1)), ("gpu", Node(8, 2)), ("", Node(4)), ("other", Node(16))]
    assert growth(groups, present) == ((GPU, 2), (Node(4), 1))
    assert growth({}, present) == ()
    assert growth({"small": (Node(4), 1)}, [("", Node(4)), ("", Node(4))]) == ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (
            '{"gpu": {"cpus": 8}}',
            "node_groups.gpu.maximum: Field required (given: {'cpus': 8}); it comes from the env",
        ),
        (
            '{"gpu": {"cpus": 8, "maximum": 0}}',
            "node_groups.gpu.maximum: Input should be greater than or equal to 1",
        ),
        ("[gpu", "ORCH_NODE_GROUPS: its value is not JSON; write a mapping in braces"),
    ],
)
def test_groups_that_cannot_be_read(value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_NODE_GROUPS", value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert str(caught.value).startswith(told)


def test_a_node_by_ray_and_by_a_setting() -> None:
    told = {"CPU": 8.0, "GPU": 2.0, "accelerator_type:A100": 1.0, "node:10.0.0.1": 1.0, "memory": 1e9}
    assert node_of(told) == GPU
    assert node_of({"memory": 1e9, "orch_driver": 16.0}) == DRIVERS
    named = NodeGroup(cpus=8, gpus=2, accelerator="A100", maximum=4)
    assert groups_of({"gpu": named}) == {"gpu": (GPU, 4)}
