"""Each rule of a manifest, broken once: the document, the path and the value that it tells."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.infra.documents import Document
from orchestrator.infra.finding import Finding
from orchestrator.infra.rules import INVARIANTS, OPERATOR, broken, clusters, jobs, ours, pods, secrecy
from tests.infra.conftest import Rendered

Change = Callable[[Any], object]
CLUSTER = "spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec"
WORKERS = f"{CLUSTER}.workerGroupSpecs[0]"


def put(path: str, value: object) -> Change:
    """Set what stands at the path; `...` takes it away."""
    keys = [int(key) if key.isdigit() else key for key in re.findall(r"[^.\[\]]+", path)]

    def change(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key] if isinstance(key, int) or key in data else data.setdefault(key, {})
        if value is ...:
            del data[keys[-1]]
        else:
            data[keys[-1]] = value

    return change


def add(path: str, value: object) -> Change:
    """Append to the list at the path."""

    def change(data: Any) -> None:
        for key in re.findall(r"[^.\[\]]+", path):
            data = data[int(key)] if key.isdigit() else data.setdefault(key, [])
        data.append(value)

    return change


def changed(found: Sequence[Document], title: str, *changes: Change) -> list[Document]:
    data = {one.title: copy.deepcopy(dict(one.data)) for one in found}
    for change in changes:
        change(data[title])
    return [Document(one) for one in data.values()]


JOB, SETTINGS = "RayJob sweep", "ConfigMap orch-settings"
GROWING = ("autoscaler",)
RULES = [
    (clusters.names, (), JOB, [put("metadata.name", "Sweep_1")], "metadata.name: 'Sweep_1' is no name"),
    (clusters.names, (), JOB, [put("metadata.name", "a" * 48)], "at most 47"),
    (
        clusters.containers,
        (),
        JOB,
        [put(f"{WORKERS}.template.spec.containers", [])],
        "group workers has no container",
    ),
    (
        clusters.counted_once,
        (),
        JOB,
        [put(f"{HEAD}.rayStartParams", {"num-cpus": "0"})],
        "group Head says num-cpus",
    ),
    (clusters.labels, (), JOB, [put(f"{WORKERS}.rayStartParams", {"labels": "a=b"})], "may not have labels there"),
    (clusters.labels, (), JOB, [put(f"{WORKERS}.labels", {"pool": "a b"})], "'a b' is no label"),
    (clusters.replicas, (), JOB, [put(f"{WORKERS}.minReplicas", ...)], "must say minReplicas and maxReplicas"),
    (clusters.replicas, (), JOB, [put(f"{WORKERS}.minReplicas", 9)], "9 is more than maxReplicas"),
    (clusters.replicas, (), JOB, [put(f"{WORKERS}.maxReplicas", -1)], "-1 is negative"),
    (
        clusters.idle_timeouts,
        GROWING,
        JOB,
        [put(f"{CLUSTER}.autoscalerOptions.idleTimeoutSeconds", -1)],
        "-1 is negative",
    ),
    (clusters.idle_timeouts, (), JOB, [put(f"{WORKERS}.priority", 2)], "autoscaler is not of version 2"),
    (
        clusters.redis,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].env", [{"name": "RAY_REDIS_ADDRESS", "value": "r:6379"}])],
        "RAY_REDIS_ADDRESS is set on the head",
    ),
    (
        clusters.redis,
        (),
        JOB,
        [put(f"{CLUSTER}.gcsFaultToleranceOptions", {}), put(f"{HEAD}.rayStartParams.redis-password", "x")],
        "the password of Redis",
    ),
    (clusters.redis, (), JOB, [put(f"{HEAD}.rayStartParams.redis-username", "x")], "the user of Redis"),
    (clusters.suspended_groups, GROWING, JOB, [put(f"{WORKERS}.suspend", True)], "group workers is suspended"),
    (
        clusters.autoscaler,
        (),
        JOB,
        [add(f"{HEAD}.template.spec.containers[0].env", {"name": "RAY_enable_autoscaler_v2", "value": "1"})],
        "RAY_enable_autoscaler_v2 is set, and enableInTreeAutoscaling is not",
    ),
    (
        clusters.autoscaler,
        GROWING,
        JOB,
        [add(f"{HEAD}.template.spec.containers[0].env", {"name": "RAY_enable_autoscaler_v2", "value": "1"})],
        "are both set",
    ),
    (clusters.restart_policies, GROWING, JOB, [put(f"{HEAD}.template.spec.restartPolicy", "Always")], "'Always'"),
    (
        clusters.authentication_version,
        (),
        JOB,
        [put(f"{CLUSTER}.rayVersion", "2.49.0")],
        "'2.49.0' with authOptions",
    ),
    (clusters.authentication_version, (), JOB, [put(f"{CLUSTER}.rayVersion", ...)], "'' with authOptions"),
    (clusters.kubernetes_tokens, (), JOB, [put(f"{CLUSTER}.authOptions.enableK8sTokenAuth", True)], "no RayJob"),
    (clusters.feature_gates, (), JOB, [put(f"{CLUSTER}.networkPolicy", {})], "RayClusterNetworkPolicy"),
    (
        clusters.feature_gates,
        (),
        JOB,
        [put(f"{CLUSTER}.gcsFaultToleranceOptions.backend", "rocksdb")],
        "feature gate",
    ),
    (jobs.modes, (), JOB, [put("spec.submissionMode", "K8sJob")], "'K8sJob' is none"),
    (
        jobs.suspension,
        (),
        JOB,
        [put("spec.suspend", True), put("spec.shutdownAfterJobFinishes", False)],
        "true without shutdownAfterJobFinishes",
    ),
    (jobs.amounts, (), JOB, [put("spec.backoffLimit", -1)], "spec.backoffLimit: -1 is too small; give at least 0"),
    (jobs.amounts, (), JOB, [put("spec.activeDeadlineSeconds", 0)], "0 is too small; give at least 1"),
    (jobs.time_to_live, (), JOB, [put("spec.shutdownAfterJobFinishes", False)], "without shutdownAfterJobFinishes"),
    (jobs.one_cluster, (), JOB, [put("spec.rayClusterSpec", ...)], "neither rayClusterSpec nor clusterSelector"),
    (jobs.one_cluster, (), JOB, [put("spec.clusterSelector", {"name": "x"})], "no cluster is named"),
    (jobs.retries, (), JOB, [put("spec.submissionMode", "InteractiveMode")], "2 in InteractiveMode"),
    (jobs.retries, (), JOB, [put("spec.clusterSelector", {"ray.io/cluster": "x"})], "2 with a clusterSelector"),
    (jobs.sidecars, (), JOB, [put("spec.submissionMode", "SidecarMode")], "has no submitter's pod"),
    (jobs.runtime_environment, (), JOB, [put("spec.runtimeEnvYAML", "a: [")], "is not YAML"),
    (jobs.deletion, (), JOB, [put("spec.deletionStrategy", {"onSuccess": {}})], "neither deletionRules nor both"),
    (
        jobs.deletion,
        (),
        JOB,
        [put("spec.deletionStrategy", {"deletionRules": [{"policy": "DeleteSelf", "condition": {}}]})],
        "deletionRules exclude shutdownAfterJobFinishes",
    ),
    (
        jobs.deletion_order,
        (),
        JOB,
        [
            put(
                "spec.deletionStrategy.deletionRules",
                [
                    {"policy": "DeleteSelf", "condition": {"jobStatus": "FAILED", "ttlSeconds": 5}},
                    {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "ttlSeconds": 9}},
                ],
            )
        ],
        "the ttlSeconds [9, 5] of DeleteCluster, DeleteSelf go down",
    ),
    (
        jobs.deletion_order,
        (),
        JOB,
        [put("spec.deletionStrategy.deletionRules", [{"policy": "DeleteSelf"}])],
        "names",
    ),
    (
        jobs.queued,
        GROWING,
        JOB,
        [put("metadata.labels", {"kueue.x-k8s.io/queue-name": "q"})],
        "Kueue admits nothing",
    ),
    (pods.amounts, (), JOB, [put(f"{HEAD}.template.spec.containers[0].resources.limits.memory", ...)], "no memory"),
    (
        pods.amounts,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].resources.requests.memory", "500Gi")],
        "500Gi is more than the limit",
    ),
    (
        pods.amounts,
        GROWING,
        JOB,
        [put(f"{CLUSTER}.autoscalerOptions.resources", ...)],
        "autoscalerOptions.resources",
    ),
    (
        pods.images,
        (),
        "Deployment mlflow",
        [put("spec.template.spec.containers[0].image", "orch")],
        "'orch' may be",
    ),
    (
        pods.images,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].image", "a.b:5/orch:latest")],
        "another image",
    ),
    (pods.pod_security, (), JOB, [put(f"{HEAD}.template.spec.securityContext.runAsUser", 0)], "runAsUser 0"),
    (pods.pod_security, (), JOB, [put(f"{HEAD}.template.spec.securityContext.seccompProfile", ...)], "no seccomp"),
    (pods.pod_security, (), JOB, [put(f"{HEAD}.template.spec.hostNetwork", True)], "it shares what is the node's"),
    (
        pods.pod_security,
        (),
        JOB,
        [add(f"{HEAD}.template.spec.volumes", {"name": "x", "hostPath": {"path": "/"}})],
        "hostPath",
    ),
    (
        pods.container_security,
        (),
        "Deployment mlflow",
        [put("spec.template.spec.initContainers[0].securityContext.readOnlyRootFilesystem", False)],
        "initContainers[0].securityContext: it may write to its image",
    ),
    (
        pods.container_security,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].securityContext.capabilities.add", ["SYS_PTRACE"])],
        "it keeps capabilities",
    ),
    (
        pods.container_security,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].securityContext.allowPrivilegeEscalation", ...)],
        "it may gain rights",
    ),
    (
        pods.api_tokens,
        (),
        JOB,
        [put(f"{WORKERS}.template.spec.automountServiceAccountToken", ...)],
        "token of the API",
    ),
    (pods.submitter, (), JOB, [put("spec.submitterPodTemplate", ...)], "the operator's own submitter"),
    (secrecy.secrets, (), SETTINGS, [put("kind", "Secret")], "a Secret with its content"),
    (
        secrecy.variables,
        (),
        JOB,
        [add(f"{HEAD}.template.spec.containers[0].env", {"name": "MLFLOW_TRACKING_PASSWORD", "value": "x"})],
        "env.MLFLOW_TRACKING_PASSWORD: its value stands in the manifest",
    ),
    (secrecy.variables, (), SETTINGS, [put("data.AWS_SECRET_ACCESS_KEY", "x")], "data.AWS_SECRET_ACCESS_KEY"),
    (
        secrecy.addresses,
        (),
        SETTINGS,
        [put("data.MLFLOW_TRACKING_URI", "http://me:word@mlflow:5000")],
        "a URL with",
    ),
    (secrecy.runtime_environment, (), JOB, [put("spec.runtimeEnvYAML", "env_vars: {A: b}")], "dashboard reads it"),
    (secrecy.authentication, (), JOB, [put(f"{CLUSTER}.authOptions", ...)], "None: who reaches the head"),
    (secrecy.authentication, (), JOB, [put(f"{CLUSTER}.authOptions.secretName", ...)], "without a secretName"),
    (secrecy.exposure, (), "Service mlflow", [put("spec.type", "LoadBalancer")], "'LoadBalancer' is reached"),
    (secrecy.exposure, (), JOB, [put(f"{HEAD}.serviceType", "NodePort")], "'NodePort' shows the dashboard"),
    (secrecy.exposure, (), JOB, [put(f"{HEAD}.enableIngress", True)], "true shows the dashboard"),
    (secrecy.exposure, (), "Service mlflow", [put("kind", "Ingress")], "leads from outside the cluster"),
    (
        secrecy.host_ports,
        (),
        JOB,
        [put(f"{HEAD}.template.spec.containers[0].ports[0].hostPort", 6379)],
        "6379 opens a port of the node",
    ),
    (ours.deadlines, (), JOB, [put("spec.preRunningDeadlineSeconds", ...)], "spec.preRunningDeadlineSeconds: None"),
    (ours.sweeps, (), JOB, [put("spec.entrypoint", "orch-entrypoint sweep cmd-medl")], "no experiment 'cmd-medl'"),
    (ours.sweeps, (), JOB, [put("spec.entrypoint", "orch-entrypoint sweep cmd-meld --tirals 3")], "--tirals"),
    (ours.sweeps, (), JOB, [put("spec.entrypoint", "python train.py")], "it begins with 'python train.py'"),
    (ours.sweeps, (), JOB, [put(f"{WORKERS}.resources.CPU", "1")], "a worker of 2 CPUs fits on no node"),
    (ours.ray_versions, (), JOB, [put(f"{CLUSTER}.rayVersion", "2.59.0")], "'2.59.0', and the image has"),
    (
        ours.ray_versions,
        (),
        JOB,
        [put(f"{WORKERS}.template.spec.containers[0].image", "orch:0.0.9-cpu")],
        "Ray's nodes must be of one version",
    ),
    (ours.spelling, (), SETTINGS, [put("data.ORCH_CACHE_LIMITS", "3")], "it is spelled ORCH_CACHE_LIMIT"),
    (ours.spelling, (), SETTINGS, [put("data.AWS_ENDPOINT_URI", "http://x")], "it is spelled AWS_ENDPOINT_URL"),
    (
        ours.spelling,
        (),
        SETTINGS,
        [put("data.MLFLOW_TRACKING_URL", "http://x")],
        "it is spelled MLFLOW_TRACKING_URI",
    ),
    (ours.spelling, (), SETTINGS, [put("data.RAY_ADRESS", "auto")], "it is spelled RAY_ADDRESS"),
    (ours.values, (), SETTINGS, [put("data.ORCH_CACHE_LIMIT", "3 GB")], "'3 GB': Input should be a valid number"),
    (ours.values, (), SETTINGS, [put("data.ORCH_STORAGE", "s3:/orch")], "a URL has two slashes"),
    (
        ours.grown_groups,
        GROWING,
        SETTINGS,
        [put("data.ORCH_NODE_GROUPS", '{"workers": {"cpus": 4, "maximum": 1}}')],
        "its worker group says {'cpus': 2.0",
    ),
    (ours.grown_groups, GROWING, SETTINGS, [put("data.ORCH_NODE_GROUPS", ...)], "workers is None"),
    (ours.grown_groups, (), SETTINGS, [put("data.ORCH_NODE_GROUPS", '{"a": {}}')], "nothing scales the cluster"),
    (ours.settings_there, (), SETTINGS, [put("metadata.name", "settings")], "there is no ConfigMap orch-settings"),
    (ours.settings_there, (), JOB, [put(f"{HEAD}.template.spec.serviceAccountName", "x")], "no ServiceAccount x"),
    (ours.labels, (), "Service mlflow", [put("metadata.labels", ...)], "no app.kubernetes.io/part-of"),
    (ours.labels, (), JOB, [put(f"{HEAD}.template.metadata.labels", ...)], "component is ''"),
]


@pytest.mark.parametrize(
    ("rule", "components", "title", "changes", "told"),
    RULES,
    ids=[f"{rule.__module__.rpartition('.')[2]}.{rule.__name__}-{told[:30]}" for rule, _, _, _, told in RULES],
)
def test_a_broken_rule_is_told(
    rule: Any, components: tuple[str, ...], title: str, changes: list[Change], *, told: str, rendered: Rendered
) -> None:
    sound = rendered("local", *components)
    assert list(rule(sound)) == []
    found: list[Finding] = list(rule(changed(sound, title, *changes)))
    assert [one for one in found if told in str(one)], found
    assert all(one.mend and one.path and one.document for one in found)


def test_every_rule_is_broken_once() -> None:
    assert {rule for rule, *_ in RULES} == {*OPERATOR, *INVARIANTS}


@pytest.mark.parametrize("overlay", ["local", "ci", "gpu", "gpu-spot"])
def test_the_overlays_break_none(overlay: str, rendered: Rendered) -> None:
    assert list(broken(rendered(overlay))) == []
