"""What each component makes of each overlay that it is laid on."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.infra.documents import Document, mapping, named, pods, ray_document, sequence
from orchestrator.infra.overlays import INFRA
from orchestrator.infra.placement import quantity
from orchestrator.launch.notice import NOTICE_SECONDS
from orchestrator.resources import NodeGroup
from orchestrator.settings import Settings
from tests.helpers.network import matches
from tests.infra.conftest import Rendered

OVERLAYS = ("local", "ci", "gpu", "gpu-spot")
STEADY = ("local", "ci", "gpu")
"""Those whose workers are as many from the beginning to the end."""
RAY_DRAINS_SECONDS = 30
"""Ray's RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S, which we leave as it is."""
GIGA = 1000**3


def ray(found: Sequence[Document]) -> Document:
    document = ray_document(found)
    assert document is not None
    return document


def cluster(found: Sequence[Document]) -> Mapping[str, Any]:
    told = ray(found).cluster
    assert told is not None
    return told[1]


def groups(found: Sequence[Document]) -> list[Mapping[str, Any]]:
    """The head's, then the workers'."""
    return [cluster(found)["headGroupSpec"], *cluster(found)["workerGroupSpecs"]]


@pytest.mark.parametrize(
    ("overlay", "components"),
    [
        ("local", ()),
        ("local", ("data",)),
        ("local", ("kueue",)),
        ("gpu", ("data", "spot", "autoscaler")),
        ("gpu-spot", ()),
    ],
)
def test_a_long_lived_cluster_is_the_sweeps_own(
    rendered: Rendered, overlay: str, components: tuple[str, ...]
) -> None:
    job, lasting = rendered(overlay, *components), rendered(overlay, *components, "long-lived")
    assert ray(job).kind == "RayJob" and ray(lasting).kind == "RayCluster"
    assert cluster(lasting) == cluster(job)
    assert ray(lasting).labels == ray(job).labels
    assert {one.title for one in lasting} - {one.title for one in job} == {"RayCluster orch"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_autoscaled_sweep_knows_what_may_come_as_ray_does(
    rendered: Rendered, overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr as derive

    found = rendered(overlay) if overlay == "gpu-spot" else rendered(overlay, "autoscaler")
    settings = named(found, "ConfigMap", "orch-settings")
    assert settings is not None
    monkeypatch.setenv("ORCH_NODE_GROUPS", settings.data["data"]["ORCH_NODE_GROUPS"])
    custom = {"metadata": {"name": "orch", "namespace": "orch"}, "spec": json.loads(json.dumps(cluster(found)))}
    told = derive(custom)["available_node_types"]["workers"]
    assert Settings().node_groups == {
        "workers": NodeGroup(
            cpus=told["resources"]["CPU"], gpus=told["resources"]["GPU"], maximum=told["max_workers"]
        )
    }
    assert told["min_workers"] == 0


@pytest.mark.parametrize("overlay", STEADY)
def test_node_groups_are_told_where_nodes_may_come_alone(rendered: Rendered, overlay: str) -> None:
    settings = named(rendered(overlay), "ConfigMap", "orch-settings")
    assert settings is not None and "ORCH_NODE_GROUPS" not in settings.data["data"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_ray_hands_out_is_what_the_container_may_use(rendered: Rendered, overlay: str) -> None:
    head, *workers = groups(rendered(overlay))
    assert (head["resources"]["CPU"], head["resources"]["GPU"]) == ("0", "0")
    for group in workers:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        assert group["resources"] == {
            "CPU": str(math.ceil(quantity(limits["cpu"]))),
            "GPU": str(limits.get("nvidia.com/gpu", 0)),
        }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_volumes_fill_before_the_pod_is_evicted_and_the_cache_before_its_volume(
    rendered: Rendered, overlay: str
) -> None:
    found = rendered(overlay)
    settings = named(found, "ConfigMap", "orch-settings")
    assert settings is not None
    for pod in (pod for document in found for pod in pods(document)):
        sizes = {
            one["name"]: quantity(one["emptyDir"]["sizeLimit"])
            for one in sequence(pod.spec, "volumes")
            if "emptyDir" in one and one["emptyDir"].get("medium") != "Memory"
        }
        limit = sum(
            quantity(one.data["resources"]["limits"]["ephemeral-storage"]) for one in pod.containers if not one.init
        )
        assert sum(sizes.values()) <= limit, pod.path
        if "cache" in sizes:
            assert float(settings.data["data"]["ORCH_CACHE_LIMIT"]) * GIGA < sizes["cache"], pod.path


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_worker_is_left_the_time_to_write_its_checkpoint(rendered: Rendered, overlay: str) -> None:
    for group in groups(rendered(overlay)):
        grace = group["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace >= RAY_DRAINS_SECONDS + NOTICE_SECONDS


SPOT_NODES: tuple[dict[str, str], ...] = (
    {"karpenter.sh/capacity-type": "spot"},
    {"eks.amazonaws.com/capacityType": "SPOT"},
    {"cloud.google.com/gke-spot": "true"},
    {"kubernetes.azure.com/scalesetpriority": "spot"},
)
KEPT_NODES: tuple[dict[str, str], ...] = (
    {},
    {"karpenter.sh/capacity-type": "on-demand"},
    {"eks.amazonaws.com/capacityType": "ON_DEMAND"},
)


@pytest.mark.parametrize(("overlay", "components"), [("gpu-spot", ()), ("local", ("spot",)), ("gpu", ("spot",))])
@pytest.mark.parametrize("node", [*SPOT_NODES, *KEPT_NODES])
def test_workers_alone_are_put_on_machines_that_may_go(
    rendered: Rendered, overlay: str, components: tuple[str, ...], node: dict[str, str]
) -> None:
    specs = {pod.component: pod.spec for one in rendered(overlay, *components) for pod in pods(one)}
    for component in {"ray-head", "ray-worker", "mlflow", "postgres", "object-store"} & set(specs):
        spot = node in SPOT_NODES
        assert fits(specs[component], node) is ((component == "ray-worker") is spot), component
    tolerated = {one["key"] for one in specs["ray-worker"]["tolerations"]}
    assert set(node) <= tolerated or node not in SPOT_NODES
    assert ("nvidia.com/gpu" in tolerated) is (overlay != "local")


def fits(spec: Mapping[str, Any], node: Mapping[str, str]) -> bool:
    """Whether its required node affinity lets a pod onto a node: one term is enough."""
    terms = mapping(spec, "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return any(matches(term, node) for term in sequence(terms, "nodeSelectorTerms"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_data_is_read_only_and_where_the_settings_say(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay, "data")
    settings = named(found, "ConfigMap", "orch-settings")
    claim = named(found, "PersistentVolumeClaim", "orch-data")
    assert settings is not None and claim is not None
    assert settings.data["data"]["ORCH_CORPORA__MELD"] == "/data/corpora/MELD.Raw"
    assert settings.data["data"]["HF_HOME"] == "/data/models"
    assert settings.data["data"]["HF_HUB_OFFLINE"] == "1"
    for group in groups(found):
        spec = group["template"]["spec"]
        volume = next(one for one in spec["volumes"] if one["name"] == "data")
        mount = next(one for one in spec["containers"][0]["volumeMounts"] if one["name"] == "data")
        assert volume["persistentVolumeClaim"] == {"claimName": claim.name, "readOnly": True}
        assert mount == {"name": "data", "mountPath": "/data", "readOnly": True}


@pytest.mark.parametrize("overlay", STEADY)
def test_the_queue_has_room_for_a_sweep_of_each_overlay(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay, "kueue")
    job, local = ray(found), named(found, "LocalQueue", "orch")
    assert local is not None and job.labels["kueue.x-k8s.io/queue-name"] == local.name
    assert "suspend" not in job.spec  # or applying again would stop what runs
    queue = named(found, "ClusterQueue", local.spec["clusterQueue"])
    assert queue is not None
    (resources,) = queue.spec["resourceGroups"]
    (flavour,) = resources["flavors"]
    quota = {one["name"]: quantity(one["nominalQuota"]) for one in flavour["resources"]}
    assert set(quota) == set(resources["coveredResources"])
    assert named(found, "ResourceFlavor", flavour["name"])
    for name, amount in asked(found).items():
        assert amount <= quota[name], name


def asked(found: Sequence[Document]) -> dict[str, float]:
    """The requests of all pods of a sweep."""
    head, *workers = groups(found)
    submitter = ray(found).spec["submitterPodTemplate"]
    templates = [(head["template"], 1), (submitter, 1), *((one["template"], one["replicas"]) for one in workers)]
    total: dict[str, float] = defaultdict(float)
    for template, count in templates:
        for container in template["spec"]["containers"]:
            for name, amount in container["resources"]["requests"].items():
                total[name] += quantity(amount) * count
    return total


KEYS = {
    "apiVersion", "kind", "namespace", "resources", "components", "patches", "replacements", "images", "labels",
    "configMapGenerator", "generatorOptions",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(INFRA.glob("*/**/kustomization.yaml")), ids=lambda path: path.parent.name)
def test_patches_are_lists_of_json_operations(path: Path) -> None:
    """A strategic merge replaces the lists of a kind that kubectl does not know, and says nothing."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(data) <= KEYS
    for made in data.get("configMapGenerator", []):
        options = {**data.get("generatorOptions", {}), **made.get("options", {})}
        assert options.get("disableNameSuffixHash") is True
    for patch in data.get("patches", []):
        text = patch["patch"] if "patch" in patch else (path.parent / patch["path"]).read_text(encoding="utf-8")
        operations = yaml.safe_load(text)
        assert isinstance(operations, list) and patch.get("target")
        assert {one["op"] for one in operations} <= {"add", "replace", "remove", "test"}


def test_charts_of_others_are_pinned() -> None:
    for path in sorted((INFRA / "helm").glob("*.yaml")):
        head = path.read_text(encoding="utf-8").partition("\n\n")[0]
        assert "--version " in head and "latest" not in head, path.name
