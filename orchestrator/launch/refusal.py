"""Why a plan can never be placed, in one sentence with the sums, and what would change that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.launch.shapes import (
    DRIVER_CPUS,
    DRIVER_RESOURCE,
    Cluster,
    Need,
    Node,
    lost,
    places,
    slots,
    units,
    with_worker,
)
from orchestrator.resources import SMALLEST

_NEVER = {
    "teacher": "no teacher can ever be trained",
    "harvest": "nothing can ever be harvested",
    "trial": "no trial can ever start",
    "confirm": "no model can ever be confirmed",
}
_LISTED = 6


def refusal(cluster: Cluster, need: Need) -> str:
    """The sentence; empty where the plan can be placed."""
    if slots(cluster, need) >= need.least:
        return ""
    ways = list(_ways(cluster, need)) or ["ask for less, or add nodes"]
    what, why = _wanted(need, cluster), f"{_nodes(cluster, need)}: {_end(cluster, need)}"
    return f"resources.{need.role}: {what}; {why}; {', or '.join(ways)}"


def _wanted(need: Need, cluster: Cluster) -> str:
    """What is asked for, and its sum where it is of several."""
    worker, count = need.worker, need.group * need.least
    each = _amount(worker.cpus, "CPU")
    if worker.gpus:
        each += f" and {_amount(worker.gpus, worker.accelerator + ' GPU' if worker.accelerator else 'GPU')}"
    one = "process" if need.role in ("harvest", "confirm") else "worker"
    if count == 1:
        return f"a {one} of {each} fits on no node"
    told = f"{count} {one}{'es' if one == 'process' else 's'} of {each}"
    sums = [worker.cpus * count]
    if need.driver and not cluster.drivers:
        told += f" and a driver of {DRIVER_CPUS:g} CPU"
        sums[0] += DRIVER_CPUS
    need_told = _amount(sums[0], "CPU")
    if worker.gpus:
        need_told += f" and {_amount(worker.gpus * count, 'GPU')}"
    return f"{told} need {need_told}"


def _end(cluster: Cluster, need: Need) -> str:
    """What would come of it: nothing at all, or nothing where Ray puts a driver in a worker's place."""
    room = places(cluster, need.worker)
    if not need.driver or cluster.drivers or room < need.group:
        found = "" if room in (0, 1) and need.group * need.least == 1 else f"there is room for {room} at once, so "
        return f"{found}{_NEVER[need.role]}"
    spared = any(
        room - lost(Cluster("", (node,)), need.worker, 1) >= need.group
        for node in cluster.shapes
        if units(node.cpus) >= units(DRIVER_CPUS)
    )
    if spared:
        return "the driver may take the place of a worker, and then no trial ever starts"
    return _NEVER[need.role]


def _ways(cluster: Cluster, need: Need) -> Iterator[str]:
    """Each change that alone is enough."""
    place = f"resources.{need.role}"
    worker = _smaller(cluster, need)
    if worker:
        yield f"set {place}.{worker}"
    fewer = _fewer(cluster, need)
    if fewer:
        yield f"set {place}.{fewer}"
    offered = replace(cluster, nodes=(*cluster.nodes, Node(0, drivers=64)))
    if need.driver and not cluster.drivers and slots(offered, need):
        yield f"start a node with --resources '{{\"{DRIVER_RESOURCE}\": 64}}'"


def _smaller(cluster: Cluster, need: Need) -> str:
    """The largest process that could be placed, by the one value that stands in the way."""
    kinds = sorted({kind for node in cluster.shapes for kind in node.accelerators})
    fitting = [kind for kind in kinds if _fits(cluster, with_worker(need, accelerator=kind))]
    if need.worker.accelerator and fitting:
        return f"accelerator to {' or '.join(fitting)}"
    for cpus in _parts([node.cpus for node in cluster.shapes], need, DRIVER_CPUS if need.driver else 0):
        if cpus < need.worker.cpus and _fits(cluster, with_worker(need, cpus=cpus)):
            return f"cpus to at most {cpus:g}"
    gpus = {float(int(node.gpus) // part) for node in cluster.shapes for part in range(1, need.group + 1)}
    shares = {0.5, 0.25} if need.group == 1 else set()
    for amount in sorted(gpus - {0.0} | shares if any(gpus) else {0.0}, reverse=True):
        if amount < need.worker.gpus and _fits(cluster, with_worker(need, gpus=amount, **_any_kind(amount))):
            return f"gpus to at most {amount:g}"
    return ""


def _fewer(cluster: Cluster, need: Need) -> str:
    field = "workers" if need.role in ("teacher", "trial") else "minimum"
    for count in range(need.group - 1, 0, -1):
        if _fits(cluster, replace(need, group=count)):
            return f"{field} to at most {count}"
    for count in range(need.least - 1, 0, -1):
        if _fits(cluster, replace(need, least=count)):
            return f"{field} to at most {count}"
    return ""


def _fits(cluster: Cluster, need: Need) -> bool:
    return slots(cluster, need) >= need.least


def _any_kind(gpus: float) -> dict[str, None]:
    return {} if gpus else {"accelerator": None}


def _parts(amounts: list[float], need: Need, driver: float) -> list[float]:
    """The sizes worth trying, largest first: a node's whole, or a part of it, with and without a driver beside."""
    whole = {round(amount - taken, 4) for amount in amounts for taken in (0, driver)}
    count = need.group * need.least
    found = {int(units(amount) / part) * SMALLEST for amount in whole for part in range(1, count + 1)}
    return sorted((round(part, 4) for part in found if part >= SMALLEST), reverse=True)


def _nodes(cluster: Cluster, need: Need) -> str:
    """The nodes, largest first; by CPUs alone where nothing else is asked for."""
    gpus = need.worker.gpus > 0
    told = f"the cluster's nodes have {_listed(Counter(cluster.nodes), gpus=gpus)}"
    if cluster.growth:
        told += f", and it may start {_listed(Counter(dict(cluster.growth)), gpus=gpus)} more"
    return told


def _listed(nodes: Counter[Node], *, gpus: bool) -> str:
    counts: Counter[str] = Counter()
    for node, count in sorted(nodes.items(), key=lambda item: (-item[0].gpus, -item[0].cpus)):
        counts[_shape(node, gpus=gpus)] += count
    if sum(counts.values()) <= _LISTED:
        parts = [shape for shape, count in counts.items() for _ in range(count)]
    else:
        parts = [f"{count} times {shape}" for shape, count in counts.items()]
    if len(parts) > _LISTED:
        parts = [*parts[: _LISTED - 1], f"{len(parts) - _LISTED + 1} smaller shapes"]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else "nothing"


def _shape(node: Node, *, gpus: bool) -> str:
    if not gpus:
        return f"{node.cpus:g}"
    kind = f" ({', '.join(sorted(node.accelerators))})" if node.accelerators else ""
    return f"{_amount(node.cpus, 'CPU')} with {_amount(node.gpus, 'GPU')}{kind}"


def _amount(amount: float, name: str) -> str:
    return f"{round(amount, 4):g} {name}{'' if amount <= 1 and amount > 0 else 's'}"
