"""Nodes x needs -> how many fit at once: arithmetic alone, in Ray's own units.

Every process of a role reserves the same, so how many a node holds does not depend on where the others went, and
Ray's PACK finds room wherever there is some. Only the drivers of trials of several workers are of another shape.
Without `DRIVER_RESOURCE` each takes a hundredth of a CPU of a node that Ray chooses, and may so take the room of a
whole worker: counted is what is left where they sit worst, so that every group that has begun finds its room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

from orchestrator.resources import PoolResources, Resources, TeacherResources, TrialResources, WorkerResources

DRIVER_RESOURCE = "orch_driver"
"""What a function that only waits for its workers reserves: with a CPU each, drivers could take them all."""
DRIVER_CPUS = 0.01
"""What it reserves where no node offers that."""
MANY = 10_000
"""Nodes of a group without a maximum."""

Role = Literal["teacher", "harvest", "trial", "confirm"]
RoleResources = TeacherResources | TrialResources | PoolResources


@dataclass(frozen=True)
class Node:
    """What a node has in all, whoever uses it now."""

    cpus: float
    gpus: float = 0
    accelerators: frozenset[str] = frozenset()
    drivers: int = 0
    """What it offers of `DRIVER_RESOURCE`."""

    def room(self, worker: WorkerResources) -> int:
        """How many such processes fit on it; shares of a GPU never span two."""
        if worker.accelerator and worker.accelerator not in self.accelerators:
            return 0
        room = units(self.cpus) // units(worker.cpus)
        if not worker.gpus:
            return room
        if worker.gpus < 1:
            return min(room, int(self.gpus) * (units(1) // units(worker.gpus)))
        return min(room, units(self.gpus) // units(worker.gpus))


@dataclass(frozen=True)
class Cluster:
    address: str
    nodes: tuple[Node, ...]
    growth: tuple[tuple[Node, int], ...] = ()
    """What more it may start by itself: a shape, and how many of it."""
    limits: Mapping[str, float] = field(default_factory=dict)
    """The most of "CPU" and "GPU" that it lets itself grow to."""

    @property
    def shapes(self) -> Counter[Node]:
        """Every node that is there or may come."""
        return Counter(self.nodes) + Counter(dict(self.growth))

    @property
    def drivers(self) -> int:
        """How much of `DRIVER_RESOURCE` there is or may come."""
        return sum(node.drivers * count for node, count in self.shapes.items())

    def driver_reservation(self) -> dict[str, float]:
        return {DRIVER_RESOURCE: 1} if self.drivers else {"CPU": DRIVER_CPUS}


@dataclass(frozen=True)
class Need:
    """What a role asks for: groups of equal workers, each group whole or not at all."""

    role: Role
    worker: WorkerResources
    group: int = 1
    """Workers that must be there at once."""
    least: int = 1
    """Groups without which nothing begins."""

    @property
    def driver(self) -> bool:
        """Whether each group has a driver in the cluster; a teacher's is the one that starts it all."""
        return self.role == "trial" and self.group > 1

    def bundle(self) -> dict[str, float]:
        """What Ray is asked for, for one worker."""
        return bundle(self.worker)


def need_of(role: Role, given: RoleResources) -> Need:
    if isinstance(given, TeacherResources):
        return Need(role, given, group=given.fewest)
    if isinstance(given, TrialResources):
        return Need(role, given, group=given.workers)
    return Need(role, given, least=given.minimum)


def needs_of(resources: Resources) -> list[Need]:
    roles: tuple[Role, ...] = ("teacher", "harvest", "trial", "confirm")
    return [need_of(role, getattr(resources, role)) for role in roles]


def bundle(worker: WorkerResources) -> dict[str, float]:
    found = {"CPU": worker.cpus}
    if worker.gpus:
        found["GPU"] = worker.gpus
    if worker.accelerator:
        found[f"accelerator_type:{worker.accelerator}"] = 0.001
    return found


def options(worker: WorkerResources) -> dict[str, object]:
    """The same as options of a Ray actor."""
    return {"num_cpus": worker.cpus, "num_gpus": worker.gpus, "accelerator_type": worker.accelerator}


def slots(cluster: Cluster, need: Need) -> int:
    """How many groups may run at once, each sure to find its room."""
    room = places(cluster, need.worker)
    if not need.driver:
        return room // need.group
    if cluster.drivers:
        return min(room // need.group, cluster.drivers)
    low, high = 0, room // need.group
    while low < high:
        middle = (low + high + 1) // 2
        if room - lost(cluster, need.worker, middle) >= middle * need.group:
            low = middle
        else:
            high = middle - 1
    return low


def places(cluster: Cluster, worker: WorkerResources) -> int:
    """How many such processes fit at once, were there nothing else."""
    room = sum(node.room(worker) * count for node, count in cluster.shapes.items())
    for name, wanted in (("CPU", worker.cpus), ("GPU", worker.gpus)):
        if wanted and name in cluster.limits:
            room = min(room, units(cluster.limits[name]) // units(wanted))
    return room


def lost(cluster: Cluster, worker: WorkerResources, drivers: int) -> int:
    """How many places of workers so many drivers take at most, `DRIVER_CPUS` each, wherever they sit."""
    prices: Counter[int] = Counter()
    for node, count in cluster.shapes.items():
        for price in _prices(node, worker):
            prices[price] += count
    found, left = 0, drivers
    for price in sorted(prices):
        taken = min(prices[price], left // price)
        found, left = found + taken, left - taken * price
    return found


def _prices(node: Node, worker: WorkerResources) -> list[int]:
    """How many drivers on a node take its first place, its second and so on.

    Where the first is dearer than the others (a GPU's node with CPUs to spare) each is priced at their mean: never
    too dear, so that never too few are counted as lost.
    """
    room, cpus, each = node.room(worker), units(node.cpus), units(worker.cpus)
    until = [0, *((cpus - left * each) // units(DRIVER_CPUS) + 1 for left in range(room, 0, -1))]
    prices = [after - before for before, after in pairwise(until)]
    if prices and prices[0] > min(prices):
        return [max(1, until[-1] // room)] * room
    return [max(1, price) for price in prices]


def units(amount: float) -> int:
    """Ray counts in ten thousandths."""
    return round(amount * 10_000)


def with_worker(need: Need, **changes: object) -> Need:
    return replace(need, worker=need.worker.model_copy(update=changes))
