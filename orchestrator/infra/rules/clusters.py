"""What KubeRay 1.7 refuses of a Ray cluster: its `validation.go`, a function each.

Of fields whose feature gate is off by default nothing further is asked: where they are set, that is the finding.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from packaging.version import InvalidVersion, Version

from orchestrator.infra.documents import LONGEST, RAY_KINDS, Document, grows, is_name, mapping, sequence
from orchestrator.infra.finding import Finding, finding, shown

V2_VARIABLE = "RAY_enable_autoscaler_v2"
_COUNTS = ("num-cpus", "num-gpus", "memory", "resources")
_LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
_PREFIX = r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?"
_GATED = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}

Clusters = Iterator[tuple[Document, str, Mapping[str, Any]]]


def clusters(found: Sequence[Document]) -> Clusters:
    """(document, path of the specification, the specification) of every Ray cluster."""
    for document in found:
        if document.cluster is not None:
            yield document, *document.cluster


def workers(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """(path, name, group)."""
    for place, group in enumerate(sequence(spec, "workerGroupSpecs")):
        yield f"{path}.workerGroupSpecs[{place}]", str(group.get("groupName", "")), group


def groups(path: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    yield f"{path}.headGroupSpec", "Head", mapping(spec, "headGroupSpec")
    yield from workers(path, spec)


def head_env(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of the head's own variables, by name; None for a reference."""
    first = next(iter(sequence(spec, "headGroupSpec", "template", "spec", "containers")), {})
    return {str(entry.get("name")): entry.get("value") for entry in sequence(first, "env")}


def second_version(spec: Mapping[str, Any]) -> bool:
    """Whether the autoscaler is of version 2, which is the default since Ray 2.47."""
    told = mapping(spec, "autoscalerOptions").get("version", "v2")
    return grows(spec) and told == "v2"


def names(found: Sequence[Document]) -> Iterator[Finding]:
    for document in found:
        if document.kind in RAY_KINDS and not is_name(document.kind, document.name):
            mend = f"at most {LONGEST[document.kind]} lower-case letters, digits and '-', a letter first"
            yield finding(document, "metadata.name", f"{document.name!r} is no name for it", mend)


def containers(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in groups(path, spec):
            if not sequence(group, "template", "spec", "containers"):
                told = f"group {name} has no container"
                yield finding(document, f"{place}.template.spec.containers", told, "give at least one")


def counted_once(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in groups(path, spec):
            both = [key for key in _COUNTS if mapping(group, "rayStartParams").get(key)]
            if both and mapping(group, "resources"):
                told = f"group {name} says {', '.join(both)} there and in `resources` too"
                yield finding(document, f"{place}.rayStartParams", told, "keep `resources`")


def labels(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in groups(path, spec):
            if "labels" in mapping(group, "rayStartParams"):
                told = f"group {name} may not have labels there"
                yield finding(
                    document, f"{place}.rayStartParams.labels", told, "put them into the group's `labels`"
                )
            for key, value in mapping(group, "labels").items():
                if not re.fullmatch(_PREFIX + _LABEL, str(key)) or not re.fullmatch(f"{_LABEL}?", str(value)):
                    told = f"{shown(value)} is no label of Kubernetes"
                    yield finding(document, f"{place}.labels.{key}", told, "letters, digits, '-', '_' and '.'")


def replicas(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in workers(path, spec):
            least, most = group.get("minReplicas"), group.get("maxReplicas")
            if not grows(spec) and (least is None or most is None):
                told = f"group {name} must say minReplicas and maxReplicas where nothing scales it"
                yield finding(document, place, told, "give both")
            for key in ("minReplicas", "maxReplicas"):
                if isinstance(group.get(key), int) and group[key] < 0:
                    yield finding(document, f"{place}.{key}", f"{group[key]} is negative", "give 0 or more")
            if isinstance(least, int) and isinstance(most, int) and least > most:
                told = f"{least} is more than maxReplicas {most}"
                yield finding(document, f"{place}.minReplicas", told, f"give at most {most}")


def idle_timeouts(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        places = [(f"{path}.autoscalerOptions", mapping(spec, "autoscalerOptions"))]
        places += [(place, group) for place, _, group in workers(path, spec)]
        for place, holder in places:
            value = holder.get("idleTimeoutSeconds")
            if isinstance(value, int) and value < 0:
                yield finding(document, f"{place}.idleTimeoutSeconds", f"{value} is negative", "give 0 or more")
        for place, name, group in workers(path, spec):
            for key in ("idleTimeoutSeconds", "priority"):
                if group.get(key) and not _scales_by_two(spec):
                    told = f"group {name} has one, and the autoscaler is not of version 2"
                    mend = "set enableInTreeAutoscaling and autoscalerOptions.version v2, or leave it away"
                    yield finding(document, f"{place}.{key}", told, mend)


def _scales_by_two(spec: Mapping[str, Any]) -> bool:
    return second_version(spec) or str(head_env(spec).get(V2_VARIABLE)) in ("1", "true")


def redis(found: Sequence[Document]) -> Iterator[Finding]:
    """Fault tolerance of the GCS is said in one place, and credentials of Redis nowhere else."""
    for document, path, spec in clusters(found):
        head, options = f"{path}.headGroupSpec", spec.get("gcsFaultToleranceOptions")
        env, parameters = head_env(spec), mapping(spec, "headGroupSpec", "rayStartParams")
        annotations = mapping(document.data, "metadata", "annotations")
        mend = "say it in gcsFaultToleranceOptions"
        if "RAY_REDIS_ADDRESS" in env and (options is not None or not annotations.get("ray.io/ft-enabled")):
            yield finding(document, f"{head}.template", "RAY_REDIS_ADDRESS is set on the head", mend)
        if parameters.get("redis-username") or "REDIS_USERNAME" in env:
            yield finding(document, head, "the user of Redis is set on the head", mend)
        if options is not None:
            if parameters.get("redis-password") or "REDIS_PASSWORD" in env:
                yield finding(document, head, "the password of Redis is set on the head", mend)
            for name in ("ray.io/ft-enabled", "ray.io/external-storage-namespace"):
                if annotations.get(name):
                    yield finding(document, f"metadata.annotations.{name}", "it is set beside the options", mend)


def suspended_groups(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in workers(path, spec):
            if group.get("suspend") is True and grows(spec):
                told = f"group {name} is suspended, and the autoscaler is on"
                yield finding(document, f"{place}.suspend", told, "leave one of them away")


def autoscaler(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        variable, options = head_env(spec).get(V2_VARIABLE), mapping(spec, "autoscalerOptions")
        place = f"{path}.headGroupSpec.template"
        if not grows(spec) and str(variable) in ("1", "true"):
            told = f"{V2_VARIABLE} is set, and enableInTreeAutoscaling is not"
            yield finding(document, place, told, "set enableInTreeAutoscaling, or leave the variable away")
        if grows(spec) and variable is not None and "version" in options:
            told = f"{V2_VARIABLE} and autoscalerOptions.version are both set"
            yield finding(document, place, told, "leave the variable away")
        for entry in sequence(options, "env"):
            if entry.get("name") == "KUBERAY_GEN_AUTOSCALER_START_CMD":
                told = f"{entry['name']} is the operator's own"
                yield finding(document, f"{path}.autoscalerOptions.env", told, "leave it away")


def restart_policies(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for place, name, group in groups(path, spec):
            policy = mapping(group, "template", "spec").get("restartPolicy") or "Never"
            if second_version(spec) and policy != "Never":
                told = f"{policy!r}, and under autoscaler v2 the pods of group {name} are not restarted in place"
                yield finding(document, f"{place}.template.spec.restartPolicy", told, "give Never, or nothing")


def authentication_version(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        if mapping(spec, "authOptions").get("mode") != "token":
            continue
        told = str(spec.get("rayVersion") or "")
        try:
            new = Version(told) >= Version("2.52.0")
        except InvalidVersion:
            new = False
        if not new:
            mend = "give the version of the image; tokens came with 2.52.0"
            yield finding(document, f"{path}.rayVersion", f"{told!r} with authOptions.mode token", mend)


def kubernetes_tokens(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        options = mapping(spec, "authOptions")
        if options.get("enableK8sTokenAuth") and (document.kind == "RayJob" or options.get("secretName")):
            told = "true, which goes with no RayJob and no secretName"
            yield finding(document, f"{path}.authOptions.enableK8sTokenAuth", told, "leave it away")


def feature_gates(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        for key, gate in _GATED.items():
            if key in spec:
                told = f"it needs the operator's feature gate {gate}, which is off by default"
                yield finding(document, f"{path}.{key}", told, "leave it away")
        if mapping(spec, "gcsFaultToleranceOptions").get("backend") == "rocksdb":
            told = "it needs the operator's feature gate GCSFaultToleranceEmbeddedStorage, which is off by default"
            yield finding(document, f"{path}.gcsFaultToleranceOptions.backend", told, "leave it away")


RULES = (
    names,
    containers,
    counted_once,
    labels,
    replicas,
    idle_timeouts,
    redis,
    suspended_groups,
    autoscaler,
    restart_policies,
    authentication_version,
    kubernetes_tokens,
    feature_gates,
)
