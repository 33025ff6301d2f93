"""What fits where: the nodes of the connected cluster, and how many workers have room on them at once."""

from __future__ import annotations

from collections.abc import Container

from orchestrator.errors import SettingsError, StageError
from orchestrator.launch.growth import GROUP_LABEL, groups_of, growth, node_of, told_groups
from orchestrator.launch.refusal import refusal
from orchestrator.launch.shapes import (
    DRIVER_RESOURCE,
    Cluster,
    Node,
    Role,
    RoleResources,
    need_of,
    needs_of,
    slots,
)
from orchestrator.resources import PoolResources, Resources
from orchestrator.settings import load

_STAGES = {"teacher": "teach", "harvest": "harvest", "trial": "sweep", "confirm": "confirm"}


def check_resources(cluster: Cluster, resources: Resources, done: Container[str] = ()) -> None:
    """SettingsError with the sums where a role could never be placed, or its trials could wait for each other for
    ever. Roles whose stage is among `done` need no room any more."""
    for need in needs_of(resources):
        if _STAGES[need.role] not in done and (fault := refusal(cluster, need)):
            raise SettingsError(fault)


def concurrency(cluster: Cluster, given: RoleResources, wanted: int | None, role: Role) -> int:
    """How many of the role run at once: as many as fit, at most `wanted` and what the role itself allows.

    Raises SettingsError where none ever fits.
    """
    if fault := refusal(cluster, need_of(role, given)):
        raise SettingsError(fault)
    return max(1, room(cluster, given, wanted, role))


def room(cluster: Cluster, given: RoleResources, wanted: int | None, role: Role) -> int:
    """The same of a cluster that may have lost nodes since: none, maybe."""
    most = [slots(cluster, need_of(role, given))]
    most += [wanted] if wanted else []
    most += [given.workers] if isinstance(given, PoolResources) and given.workers else []
    return min(most)


def current() -> Cluster:
    """The cluster that this process is connected to, as it is now and as it may become."""
    import ray

    if not ray.is_initialized():
        raise StageError("no Ray cluster is connected; this is called within `connected`")
    alive = [node for node in ray.nodes() if node["Alive"]]
    present = [((node.get("Labels") or {}).get(GROUP_LABEL, ""), node_of(node["Resources"])) for node in alive]
    groups, limits = told_groups()
    return Cluster(
        address=ray.get_runtime_context().gcs_address,
        nodes=tuple(node for _, node in present),
        growth=growth(groups or groups_of(load().node_groups), present),
        limits=limits,
    )


__all__ = ["DRIVER_RESOURCE", "Cluster", "Node", "check_resources", "concurrency", "current", "room"]
