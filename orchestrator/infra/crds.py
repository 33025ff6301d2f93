"""KubeRay's schemas from its CRDs: strict, and trimmed to what a schema checks.

A CRD repeats Kubernetes' own types at every place where they are used, 200 kB each; here they are references to the
schemas of those types. Unknown fields, which the API server would drop in silence, are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KUBERNETES = "kubernetes:"
"""Before the name of one of Kubernetes' own definitions, in a `$ref`."""
_KEPT = ("type", "enum", "required", "minimum", "minItems", "pattern")
_CORE = "io.k8s.api.core.v1."
_OWN = {
    "template": f"{_CORE}PodTemplateSpec",
    "submitterPodTemplate": f"{_CORE}PodTemplateSpec",
    "headService": f"{_CORE}Service",
    "resources": f"{_CORE}ResourceRequirements",
    "securityContext": f"{_CORE}SecurityContext",
    "valueFrom": f"{_CORE}EnvVarSource",
    "env": f"{_CORE}EnvVar",
    "envFrom": f"{_CORE}EnvFromSource",
    "volumeMounts": f"{_CORE}VolumeMount",
    "tls": "io.k8s.api.networking.v1.IngressTLS",
    "egressRules": "io.k8s.api.networking.v1.NetworkPolicyEgressRule",
    "ingressRules": "io.k8s.api.networking.v1.NetworkPolicyIngressRule",
}
"""Kubernetes' own types by the names of the fields that hold one, or a list of them."""


def trimmed(crds: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The content of `infra/schemas/kuberay-1.7.json`, from the CRDs of RayCluster and RayJob."""
    specs = {crd["spec"]["names"]["kind"]: _spec(crd) for crd in crds}
    cluster = _schema(specs["RayCluster"], own=True)
    job = _schema(specs["RayJob"], own=True)
    if job["properties"]["rayClusterSpec"] != cluster:
        raise ValueError("the RayJob's rayClusterSpec is not the RayCluster's spec; write both out")
    job["properties"]["rayClusterSpec"] = {"$ref": "#/$defs/RayClusterSpec"}
    return {
        "documents": {
            "ray.io/v1 RayCluster": _document("RayCluster", {"$ref": "#/$defs/RayClusterSpec"}),
            "ray.io/v1 RayJob": _document("RayJob", {"$ref": "#/$defs/RayJobSpec"}),
        },
        "$defs": {"RayClusterSpec": cluster, "RayJobSpec": job},
    }


def strict(crd: Mapping[str, Any]) -> dict[str, Any]:
    """The same file's form from one CRD, with Kubernetes' types as the CRD writes them out."""
    kind = crd["spec"]["names"]["kind"]
    return {"documents": {f"ray.io/v1 {kind}": _document(kind, _schema(_spec(crd), own=False))}}


def _spec(crd: Mapping[str, Any]) -> Mapping[str, Any]:
    version = next(one for one in crd["spec"]["versions"] if one["name"] == "v1")
    found: Mapping[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def _document(kind: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    properties = {
        "apiVersion": {"enum": ["ray.io/v1"]},
        "kind": {"enum": [kind]},
        "metadata": {"$ref": f"{KUBERNETES}{meta}"},
        "spec": dict(spec),
    }
    required = ["apiVersion", "kind", "metadata", "spec"]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _schema(given: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
    """The schema, strict; `own`: with references for Kubernetes' own types."""
    if given.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | {key: given[key] for key in ("pattern",) if key in given}
    found: dict[str, Any] = {key: given[key] for key in _KEPT if key in given}
    if "items" in given:
        found["items"] = _schema(given["items"], own=own)
    if isinstance(given.get("additionalProperties"), Mapping):
        found["additionalProperties"] = _schema(given["additionalProperties"], own=own)
    if "properties" in given:
        found["properties"] = {
            name: _reference(name, below) if own and _is_kubernetes(name, below) else _schema(below, own=own)
            for name, below in sorted(given["properties"].items())
        }
        found["additionalProperties"] = False
    return found


def _is_kubernetes(name: str, given: Mapping[str, Any]) -> bool:
    """Group `resources` are a plain map."""
    return bool(_OWN.get(name)) and ("properties" in given or "properties" in given.get("items", {}))


def _reference(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    reference = {"$ref": f"{KUBERNETES}{_OWN[name]}"}
    return {"type": "array", "items": reference} if given.get("type") == "array" else reference
