"""Who reaches whom, by the rendered policies: every pair of ends on every port that means something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from orchestrator.infra.documents import Document, mapping, pods
from tests.helpers.network import End, reaches
from tests.infra.conftest import Rendered

OVERLAYS = ("local", "ci", "gpu", "gpu-spot")
DNS, HTTPS, MLFLOW, POSTGRES, GCS, API, STORE, METRICS, DASHBOARD, CLIENT, CHOSEN = (
    53, 443, 5000, 5432, 6379, 6443, 7070, 8080, 8265, 10001, 31234,
)  # fmt: skip
TCP = (DNS, HTTPS, MLFLOW, POSTGRES, GCS, API, STORE, METRICS, DASHBOARD, CLIENT, CHOSEN)
OURS = ("ray-head", "ray-worker", "submitter", "mlflow", "postgres", "object-store")
RAY = ("ray-head", "ray-worker")
STORING = (*RAY, "mlflow")

OUTSIDE = {
    "operator": End("ray-system", {"app.kubernetes.io/name": "kuberay-operator"}),
    "beside the operator": End("ray-system", {"app.kubernetes.io/name": "something"}),
    "called operator": End("default", {"app.kubernetes.io/name": "kuberay-operator"}),
    "called head": End("default", {"app.kubernetes.io/component": "ray-head"}),
    "prometheus": End("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "dns": End("kube-system", {"k8s-app": "kube-dns"}),
    "dns of the node": End(address="169.254.20.10"),
    "s3": End(address="52.216.8.1"),
    "s3 by IPv6": End(address="2600:1fa0::1"),
    "kubernetes": End(address="10.96.0.1"),
    "metadata": End(address="169.254.169.254"),
    "metadata by IPv6": End(address="fd00:ec2::254"),
}
STRANGER = {"stranger": End("orch", {"app": "stranger"})}
NAMES = ("dns", "dns of the node")
INTERNET = ("s3", "s3 by IPv6", "kubernetes")

Edge = tuple[str, str, int]


def policies(found: Sequence[Document]) -> list[Mapping[str, Any]]:
    return [one.data for one in found if one.kind == "NetworkPolicy"]


def ours(found: Sequence[Document]) -> dict[str, End]:
    """The pods of the manifest, as labelled there."""
    templates = [pod for document in found for pod in pods(document)]
    return {pod.component: End("orch", dict(mapping(pod.template, "metadata", "labels"))) for pod in templates}


def edges(found: Sequence[Document], *, protocol: str = "TCP") -> set[Edge]:
    """All that begin or end in our namespace."""
    inside = {**ours(found), **STRANGER}
    ends = {**inside, **OUTSIDE}
    return {
        (source, target, port)
        for source in ends
        for target in ends
        for port in TCP
        if source != target and (source in inside or target in inside)
        if reaches(policies(found), ends[source], ends[target], port, protocol)
    }


def expected(present: set[str]) -> set[Edge]:
    """Of an overlay without leave to go out; every pair among `present`."""
    among = {(source, target, port) for source in RAY for target in RAY for port in TCP if source != target}
    told = {
        ("submitter", "ray-head", DASHBOARD),
        ("operator", "ray-head", DASHBOARD),
        ("ray-head", "mlflow", MLFLOW),
        ("mlflow", "postgres", POSTGRES),
        *(("prometheus", node, METRICS) for node in RAY),
        *((one, "object-store", STORE) for one in STORING),
        *((one, server, DNS) for one in (*OURS, "stranger") for server in NAMES),
    }
    return {edge for edge in among | told if {edge[0], edge[1]} <= present | set(OUTSIDE) | set(STRANGER)}


OUT = {(one, target, HTTPS) for one in STORING for target in INTERNET}
KUBERNETES = {("ray-head", target, port) for target in INTERNET for port in (HTTPS, API)}


@pytest.mark.parametrize(
    ("overlay", "components", "more"),
    [
        ("local", (), set()),
        ("ci", (), set()),
        ("gpu", (), OUT),
        ("gpu-spot", (), OUT | KUBERNETES),
        ("local", ("egress-https",), OUT),
        ("local", ("autoscaler",), KUBERNETES),
        ("local", ("long-lived",), set()),
    ],
)
def test_exactly_these_reach_each_other(
    rendered: Rendered, overlay: str, components: tuple[str, ...], more: set[Edge]
) -> None:
    found = rendered(overlay, *components)
    assert edges(found) == expected(set(ours(found))) | more


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_names_are_resolved_by_both_protocols_and_nothing_else_goes_by_udp(
    rendered: Rendered, overlay: str
) -> None:
    found = rendered(overlay)
    udp = edges(found, protocol="UDP")
    asking = (*ours(found), "stranger")
    assert {edge for edge in udp if edge[1] in NAMES} == {(one, server, DNS) for one in asking for server in NAMES}
    assert {(source, target) for source, target, _ in udp if target not in NAMES} == {
        ("ray-head", "ray-worker"),
        ("ray-worker", "ray-head"),
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("port", [DASHBOARD, GCS, CLIENT])
def test_none_but_operator_submitter_and_ray_reach_the_head(rendered: Rendered, overlay: str, port: int) -> None:
    reached = {source for source, target, at in edges(rendered(overlay)) if target == "ray-head" and at == port}
    assert reached == ({"ray-worker", "operator", "submitter"} if port == DASHBOARD else {"ray-worker"})


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_is_denied_all_by_default(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay)
    alone = [one for one in policies(found) if one["metadata"]["name"] == "default-deny"]
    ends = {**ours(found), **STRANGER, **OUTSIDE}
    inside = set(ours(found)) | set(STRANGER)
    assert not any(
        reaches(alone, ends[source], ends[target], port, "TCP")
        for source in ends
        for target in inside
        for port in TCP
    )


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_address_block_lets_a_machines_own_credentials_through(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay, *(() if overlay == "gpu-spot" else ("autoscaler",)))
    assert any("ipBlock" in str(policy) for policy in policies(found))
    assert not [edge for edge in edges(found) if edge[1].startswith("metadata")]
