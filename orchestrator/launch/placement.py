"""What fits where: the nodes of the connected cluster, and how many workers have room on them at once."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import SettingsError, StageError
from orchestrator.experiment import WorkerResources

DRIVER_RESOURCE = "orch_driver"
"""What a function that only waits for its workers reserves: with a CPU each, drivers could take them all."""


@dataclass(frozen=True)
class Node:
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Cluster:
    address: str
    nodes: tuple[Node, ...]
    drivers: bool
    """Whether it offers `DRIVER_RESOURCE`."""

    @property
    def cpus(self) -> float:
        return sum(node.cpus for node in self.nodes)

    @property
    def gpus(self) -> float:
        return sum(node.gpus for node in self.nodes)

    def slots(self, need: WorkerResources) -> int:
        """How many groups of `need.workers` fit at once, each worker whole on one node."""
        return sum(_fits(node, need) for node in self.nodes) // need.workers

    def driver_reservation(self) -> dict[str, float]:
        return {DRIVER_RESOURCE: 1} if self.drivers else {"CPU": 0.01}


def concurrency(cluster: Cluster, need: WorkerResources, wanted: int | None, what: str) -> int:
    """How many `what` run at once: as many as fit, at most `wanted`. Raises SettingsError where none ever fits."""
    slots = cluster.slots(need)
    if slots < 1:
        largest = ", ".join(f"{n.cpus:g} CPUs and {n.gpus:g} GPUs" for n in sorted(cluster.nodes, key=_size)[-3:])
        raise SettingsError(
            f"resources.{what}: {need.workers} worker(s) of {need.cpus:g} CPUs and {need.gpus:g} GPUs "
            f"can never be placed: the cluster's largest nodes have {largest}; ask for less or add nodes"
        )
    return max(1, min(slots, wanted or slots))


def current() -> Cluster:
    """The cluster that this process is connected to."""
    import ray

    if not ray.is_initialized():
        raise StageError("no Ray cluster is connected; this is called within `connected`")
    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    nodes = tuple(Node(float(total.get("CPU", 0)), float(total.get("GPU", 0))) for total in totals)
    address = ray.get_runtime_context().gcs_address
    return Cluster(address, nodes, any(DRIVER_RESOURCE in total for total in totals))


def _fits(node: Node, need: WorkerResources) -> int:
    by_cpu = int(node.cpus / need.cpus + 1e-9)
    return min(by_cpu, int(node.gpus / need.gpus + 1e-9)) if need.gpus else by_cpu


def _size(node: Node) -> tuple[float, float]:
    return node.gpus, node.cpus
