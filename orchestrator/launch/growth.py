"""What a cluster that scales by itself may become, and how it is told what is wanted.

A cluster's own word is the configuration of node groups in its GCS. Ray 2.60 reads it in many places, but of its
own autoscalers none writes it, on Kubernetes neither: where it is missing, the setting `node_groups` says it.

Wanted is told through Ray's one coordinator of such requests, as Ray Train does: `request_resources` of
`ray.autoscaler.sdk` knows a single request for the whole cluster, and the coordinator, once there, sends the sum
of its own every twenty seconds. What it was told it forgets by itself, so that a killed driver leaves no node
running.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar
from uuid import uuid4

from orchestrator.launch.shapes import DRIVER_RESOURCE, MANY, Cluster, Node
from orchestrator.resources import NodeGroup

GROUP_LABEL = "ray.io/node-group"
KEPT_SECONDS = 180.0
"""How long a request lives unless it is told again."""
AGAIN_SECONDS = 60.0
_ACCELERATOR = "accelerator_type:"

Groups = Mapping[str, tuple[Node, int]]
"""By name: the shape of a node, and the most of them."""
T = TypeVar("T")


def node_of(resources: Mapping[str, float]) -> Node:
    """A node from Ray's words for it."""
    return Node(
        cpus=float(resources.get("CPU", 0)),
        gpus=float(resources.get("GPU", 0)),
        accelerators=frozenset(
            name.removeprefix(_ACCELERATOR) for name in resources if name.startswith(_ACCELERATOR)
        ),
        drivers=int(resources.get(DRIVER_RESOURCE, 0)),
    )


def growth(groups: Groups, present: Sequence[tuple[str, Node]]) -> tuple[tuple[Node, int], ...]:
    """What may still come of each group; `present` are the nodes that are there, with their group's name if known.

    A node without a name counts for the first group of its shape that has room for it.
    """
    left = {name: most - sum(label == name for label, _ in present) for name, (_, most) in groups.items()}
    for label, node in present:
        if label not in groups:
            for name, (shape, _) in groups.items():
                if shape == node and left[name] > 0:
                    left[name] -= 1
                    break
    return tuple((groups[name][0], count) for name, count in left.items() if count > 0)


def groups_of(settings: Mapping[str, NodeGroup]) -> Groups:
    return {
        name: (
            Node(
                group.cpus,
                group.gpus,
                frozenset({group.accelerator} if group.accelerator else ()),
                group.drivers,
            ),
            group.maximum,
        )
        for name, group in settings.items()
    }


def told_groups() -> tuple[Groups, dict[str, float]]:
    """The groups, and the limits of the whole, as the connected cluster tells them; nothing where it does not."""
    found, limits = on_cluster(_cluster_config)
    return {name: (node_of(shape), MANY if most < 0 else most) for name, shape, most in found}, limits


def _cluster_config() -> tuple[list[tuple[str, dict[str, float], int]], dict[str, float]]:
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return [], {}
    groups = [
        (group.name or f"group {place}", dict(group.resources), int(group.max_count))
        for place, group in enumerate(config.node_group_configs)
    ]
    return groups, {name: float(most) for name, most in config.max_resources.items()}


def on_cluster(work: Callable[..., T], *args: object) -> T:
    """Call `work` where Ray's own state can be seen: here, or on the cluster where this process is a Ray client."""
    import ray
    from ray.util.client import ray as client

    if client.is_connected():
        found: T = ray.get(ray.remote(num_cpus=0)(work).remote(*args))
        return found
    return work(*args)


@contextmanager
def wanted(cluster: Cluster, bundles: Sequence[Mapping[str, float]]) -> Iterator[None]:
    """Ask a cluster that may grow for room for all these at once, for as long as the context lasts."""
    if not cluster.growth:
        yield
        return
    ended, name = threading.Event(), f"orch-{uuid4().hex[:8]}"
    shapes = [dict(one) for one in bundles]

    def keep_telling() -> None:
        while not ended.wait(AGAIN_SECONDS):
            tell_wanted(name, shapes)

    tell_wanted(name, shapes)
    thread = threading.Thread(target=keep_telling, daemon=True, name="orch-wanted")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=AGAIN_SECONDS)
        tell_wanted(name, [])


def tell_wanted(name: str, bundles: list[dict[str, float]]) -> None:
    """Tell it once, in place of what this name has asked for before; nothing is asked for any more where empty.

    A cluster that cannot be told just now is told a minute later: what waits for room asks for it by waiting, too.
    """
    import ray

    with suppress(ray.exceptions.RayError, TimeoutError):
        on_cluster(_tell, name, bundles)


def _tell(name: str, bundles: list[dict[str, float]]) -> None:
    import ray
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        ResourceRequestPriority,
        get_or_create_autoscaling_coordinator,
    )

    coordinator = get_or_create_autoscaling_coordinator()
    if bundles:
        told = coordinator.request_resources.remote(
            requester_id=name,
            resources=bundles,
            expire_after_s=KEPT_SECONDS,
            priority=ResourceRequestPriority.LOW,
        )
    else:
        told = coordinator.cancel_request.remote(requester_id=name)
    ray.get(told, timeout=AGAIN_SECONDS / 2)
