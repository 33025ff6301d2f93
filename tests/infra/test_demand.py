"""What a manifest asks a cluster for, by hand."""

from __future__ import annotations

from typing import Any

from orchestrator.infra.demand import demand, told
from orchestrator.infra.documents import Document


def template(cpu: str, memory: str, **more: str) -> dict[str, Any]:
    first = {"name": "one", "resources": {"requests": {"cpu": cpu, "memory": memory, **more}}}
    waits = {"name": "init", "resources": {"requests": {"cpu": "9", "memory": "9Gi"}}}
    return {"spec": {"containers": [first], "initContainers": [waits]}}


def cluster(**change: Any) -> Document:
    workers = {
        "groupName": "workers", "replicas": 2, "minReplicas": 0, "maxReplicas": 8,
        "template": template("3", "4Gi", **{"nvidia.com/gpu": "1"}),
    }  # fmt: skip
    spec = {"headGroupSpec": {"template": template("500m", "1Gi")}, "workerGroupSpecs": [workers], **change}
    job = {"rayClusterSpec": spec, "submitterPodTemplate": template("100m", "512Mi")}
    return Document({"kind": "RayJob", "metadata": {"name": "sweep"}, "spec": job})


STORE = Document(
    {
        "kind": "StatefulSet",
        "metadata": {"name": "store"},
        "spec": {
            "replicas": 3,
            "template": template("250m", "1Gi"),
            "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": "10Gi"}}}}],
        },
    }
)


def test_workers_count_as_often_as_they_are_started_and_init_containers_never() -> None:
    assert told([cluster()]) == "asks for 6.6 CPUs, 9.5 GiB, 2 GPUs"
    assert demand([cluster()]) == demand([cluster()], grown=True)


def test_an_autoscaler_may_start_more_and_takes_its_own() -> None:
    options = {"resources": {"requests": {"cpu": "200m", "memory": "512Mi"}}}
    grows = cluster(enableInTreeAutoscaling=True, autoscalerOptions=options)
    assert told([grows]) == ("asks for 6.8 CPUs, 10.0 GiB, 2 GPUs; with all workers 24.8 CPUs, 34.0 GiB, 8 GPUs")


def test_volumes_are_counted_beside() -> None:
    claim = {"kind": "PersistentVolumeClaim", "spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    assert told([STORE, Document(claim)]) == "asks for 0.8 CPUs, 3.0 GiB, 15 GiB of volumes"
