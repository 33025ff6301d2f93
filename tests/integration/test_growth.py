"""What a cluster that scales by itself tells and is told, by its own GCS: no autoscaler acts on it here."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator.launch import growth
from orchestrator.launch.growth import wanted
from orchestrator.launch.placement import Cluster, concurrency, current
from orchestrator.launch.shapes import MANY, Node
from orchestrator.resources import PoolResources

GROUPS = [
    ({"CPU": 4, "orch_driver": 1024}, 1, "head"),
    ({"CPU": 8, "GPU": 2, "accelerator_type:A100": 1}, 3, "gpu"),
    ({"CPU": 16}, -1, "cpu"),
    ({"CPU": 64}, 0, "off"),
]


@contextmanager
def told(address: str, groups: list[tuple[dict[str, int], int, str]], **limits: int) -> Iterator[None]:
    """The groups in the cluster's GCS, as an autoscaler would write them there."""
    from ray._raylet import GcsClient  # type: ignore[attr-defined]
    from ray.core.generated.autoscaler_pb2 import ClusterConfig, NodeGroupConfig

    config = ClusterConfig(max_resources=limits)
    for resources, most, name in groups:
        config.node_group_configs.append(NodeGroupConfig(resources=resources, max_count=most, name=name))
    client = GcsClient(address=address)
    client.report_cluster_config(config.SerializeToString())
    try:
        yield
    finally:
        client.report_cluster_config(ClusterConfig().SerializeToString())


def asked() -> Counter[str]:
    """What the cluster's autoscaler would be asked to make room for, by its shape: for either of Ray's two."""
    from ray._private.state import state
    from ray.autoscaler._private.constants import AUTOSCALER_RESOURCE_REQUEST_CHANNEL
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get, internal_kv_get_gcs_client

    assert state is not None
    if not is_autoscaler_v2():
        return Counter(map(str, json.loads(_internal_kv_get(AUTOSCALER_RESOURCE_REQUEST_CHANNEL) or b"[]")))
    found: Counter[str] = Counter()
    for constraint in get_cluster_resource_state(internal_kv_get_gcs_client()).cluster_resource_constraints:
        for one in constraint.resource_requests:
            found[str(dict(one.request.resources_bundle))] += one.count
    return found


def test_what_a_cluster_may_become_counts(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Node(8, 2, frozenset({"A100"}))
    assert current().growth == ()
    with told(cluster.address, GROUPS, GPU=4):
        found = current()
        assert found.growth == ((gpu, 3), (Node(16), MANY))
        given = PoolResources(gpus=0.5, accelerator="A100")
        assert concurrency(found, given, None, "harvest") == 8  # four GPUs at most, for all that there are six
    assert current().growth == ()
    monkeypatch.setenv("ORCH_NODE_GROUPS", '{"gpu": {"cpus": 8, "gpus": 2, "accelerator": "A100", "maximum": 2}}')
    assert current().growth == ((gpu, 2),)


def test_a_cluster_that_may_grow_is_told_what_is_wanted_and_when_it_no_longer_is(cluster: Cluster) -> None:
    bundle = {"CPU": 2.0, "GPU": 1.0}
    with told(cluster.address, GROUPS):
        before = asked()
        with wanted(current(), [bundle] * 3):
            assert asked() - before == {str(bundle): 3}
            with wanted(current(), [{"CPU": 1.0}]):  # beside what others want
                assert asked() - before == {str(bundle): 3, str({"CPU": 1.0}): 1}
        assert asked() == before
    with wanted(current(), [bundle]):
        assert asked() == before


def test_what_a_killed_driver_wanted_is_forgotten(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told again every minute and kept for three: a driver that is gone tells nothing again."""
    assert growth.KEPT_SECONDS > 2 * growth.AGAIN_SECONDS
    monkeypatch.setattr(growth, "KEPT_SECONDS", 2.0)
    before = asked()
    growth.tell_wanted("gone", [{"CPU": 3.0}])
    assert asked() - before == {str({"CPU": 3.0}): 1}
    time.sleep(2.5)
    growth.tell_wanted("other", [{"CPU": 1.0}])  # whatever is told next, at the latest twenty seconds later
    assert asked() - before == {str({"CPU": 1.0}): 1}
    growth.tell_wanted("other", [])
    assert asked() == before


def test_the_coordinator_of_requests_is_the_one_of_ray_train() -> None:
    """Two of them would each undo what the other asks for."""
    from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator as ours
    from ray.train.v2._internal.execution.scaling_policy import autoscaling_coordinator_client as train

    found: Any = train.get_or_create_autoscaling_coordinator
    assert found is ours.get_or_create_autoscaling_coordinator
