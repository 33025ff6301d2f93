"""What each account may ask of Kubernetes, and which Secrets each pod is given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from orchestrator.infra.documents import Document, Pod, mapping, named, pods, sequence
from tests.infra.conftest import Rendered

OVERLAYS = ("local", "ci", "gpu", "gpu-spot")
RBAC = ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def may(found: Sequence[Document], role: str, verb: str, group: str, resource: str) -> bool:
    document = named(found, "Role", role)
    return document is not None and any(
        group in rule["apiGroups"] and resource in rule["resources"] and verb in rule["verbs"]
        for rule in sequence(document.data, "rules")
    )


@pytest.mark.parametrize(
    ("verb", "group", "resource", "allowed"),
    [
        *((verb, "ray.io", "rayjobs", True) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *((verb, "ray.io", "rayclusters", True) for verb in ("get", "list", "create", "patch", "delete")),
        *((verb, "", "configmaps", True) for verb in ("get", "create", "patch", "delete")),
        *((verb, "", "pods", True) for verb in ("get", "list", "watch")),
        *((verb, "", "events", True) for verb in ("get", "list")),
        ("get", "", "pods/log", True),
        *((verb, "", "secrets", False) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *((verb, "", "pods", False) for verb in ("create", "patch", "delete")),
        *(("create", "", f"pods/{sub}", False) for sub in ("exec", "attach", "portforward", "ephemeralcontainers")),
        *(("create", "", resource, False) for resource in ("serviceaccounts", "serviceaccounts/token")),
        *((verb, "networking.k8s.io", "networkpolicies", False) for verb in ("create", "patch", "delete")),
        *((verb, "rbac.authorization.k8s.io", "roles", False) for verb in ("get", "patch", "escalate", "bind")),
        *((verb, "apps", "deployments", False) for verb in ("get", "patch")),
        ("delete", "", "persistentvolumeclaims", False),
    ],
)
def test_what_ci_may_do(rendered: Rendered, verb: str, group: str, resource: str, allowed: bool) -> None:
    assert may(rendered("ci"), "orch-submitter", verb, group, resource) is allowed


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_role_is_bound_to_one_account_and_says_nothing_of_everything(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay)
    assert [one.title for one in found if one.kind in RBAC] == [
        "Role orch-submitter",
        "RoleBinding orch-submitter",
    ]
    binding = named(found, "RoleBinding", "orch-submitter")
    assert binding is not None
    assert binding.data["subjects"] == [{"kind": "ServiceAccount", "name": "orch-submitter", "namespace": "orch"}]
    role = named(found, "Role", "orch-submitter")
    assert role is not None and "*" not in str(role.data["rules"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_is_given_a_token_but_the_autoscaler_beside_the_head(rendered: Rendered, overlay: str) -> None:
    found = rendered(overlay)
    accounts = {one.name for one in found if one.kind == "ServiceAccount"}
    assert all(one.data["automountServiceAccountToken"] is False for one in found if one.kind == "ServiceAccount")
    for pod in templates(found):
        assert pod.spec["automountServiceAccountToken"] is False, pod.path
        assert pod.spec.get("serviceAccountName", "default") in accounts | {"default"}, pod.path
        assert pod.spec.get("serviceAccountName") != "orch-submitter", pod.path
        tokens = {one["name"] for one in sequence(pod.spec, "volumes") if "serviceAccountToken" in str(one)}
        for container in pod.containers:
            assert not tokens & {one["name"] for one in sequence(container.data, "volumeMounts")}, container.path


def test_the_autoscaler_mounts_the_token_where_ray_reads_it(rendered: Rendered) -> None:
    from ray.autoscaler._private.kuberay.node_provider import IN_CLUSTER_CA_CERT_PATH, IN_CLUSTER_TOKEN_PATH

    job = next(one for one in rendered("local", "autoscaler") if one.kind == "RayJob")
    cluster = job.spec["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    mount = next(
        one for one in cluster["autoscalerOptions"]["volumeMounts"] if one["mountPath"].endswith("serviceaccount")
    )
    volume = next(one for one in head["volumes"] if one["name"] == mount["name"])
    token, authority, _ = volume["projected"]["sources"]
    assert f"{mount['mountPath']}/{token['serviceAccountToken']['path']}" == IN_CLUSTER_TOKEN_PATH
    assert f"{mount['mountPath']}/{authority['configMap']['items'][0]['path']}" == IN_CLUSTER_CA_CERT_PATH
    assert head["serviceAccountName"] == "orch-head"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_each_pod_is_given_no_more_secrets_than_it_needs(rendered: Rendered, overlay: str) -> None:
    given = {pod.component: set(secrets(pod)) for pod in templates(rendered(overlay))}
    needed = {
        "ray-head": {"orch-object-store", "orch-mlflow"},
        "ray-worker": {"orch-object-store"},
        "submitter": set(),
        "mlflow": {"orch-object-store", "orch-mlflow", "orch-mlflow-admin", "orch-postgres"},
        "postgres": {"orch-postgres"},
        "object-store": {"orch-object-store"},
    }
    assert given == {component: needed[component] for component in given}
    assert {"ray-head", "ray-worker", "submitter", "mlflow", "postgres"} <= set(given)


def templates(found: Sequence[Document]) -> list[Pod]:
    return [pod for document in found for pod in pods(document)]


def secrets(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        for source in container.env_from:
            if name := mapping(source, "secretRef").get("name"):
                yield str(name)
        for entry in container.env:
            if name := mapping(entry, "valueFrom", "secretKeyRef").get("name"):
                yield str(name)
    for volume in sequence(pod.spec, "volumes"):
        if name := mapping(volume, "secret").get("secretName"):
            yield str(name)
