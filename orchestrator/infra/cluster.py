"""What is done to a Kubernetes cluster: apply, look, delete. Thin: what is applied is what `render` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import ManifestError
from orchestrator.infra.documents import RAY_KINDS, Document, documents, mapping, ray_document, sequence
from orchestrator.infra.follow import ENDED
from orchestrator.infra.kubectl import NAMESPACE, Kubectl
from orchestrator.infra.rules import OPERATOR, broken
from orchestrator.infra.secrets import make_missing

KEPT = ("Namespace", "PersistentVolumeClaim", "Secret")
"""They hold what cannot be made again; a namespace that goes takes them along."""
Say = Callable[[str], None]


def apply(kubectl: Kubectl, text: str, say: Say, *, sweep_only: bool = False, again: bool = False) -> None:
    """What the operator would refuse is refused here, before anything is made.

    `sweep_only`: the sweep alone, as an account does it that may do nothing else. `again`: in place of one of the
    same name that has ended.
    """
    found = documents(text)
    for fault in broken(found, OPERATOR):
        raise ManifestError(str(fault))
    _make_room(kubectl, ray_document(found), again=again)
    if sweep_only:
        text = _manifest(_sweep(found))
    else:
        if namespaces := [one for one in found if one.kind == "Namespace"]:
            kubectl.apply(_manifest(namespaces))  # for the Secrets, which come before the pods that wait for them
        for name in make_missing(kubectl, found):
            say(f"secret/{name} made, of random content")
    say(kubectl.apply(text).rstrip())


def _make_room(kubectl: Kubectl, document: Document | None, *, again: bool) -> None:
    """The operator starts nothing where a RayJob of the name has ended."""
    if document is None or document.kind != "RayJob":
        return
    for job in kubectl.get(["rayjobs"]):
        state = mapping(job, "status").get("jobDeploymentStatus")
        if mapping(job, "metadata").get("name") != document.name or state not in ENDED:
            continue
        if not again:
            raise ManifestError(
                f"{document.title} has ended ({state}) and would not start anew: add --again, which deletes it "
                "first and goes on from the storage, or give another --name"
            )
        kubectl.delete_one("rayjob", document.name)


def delete(kubectl: Kubectl, text: str, *, sweep_only: bool = False, everything: bool = False) -> str:
    """Delete what `render` prints; what it cannot make again only with `everything`."""
    found = documents(text)
    chosen = _sweep(found) if sweep_only else [one for one in found if everything or one.kind not in KEPT]
    return kubectl.delete(_manifest(chosen)).rstrip()


def _sweep(found: Sequence[Document]) -> list[Document]:
    document = ray_document(found)
    if document is None:
        raise ManifestError("the overlay has no RayJob or RayCluster; leave --sweep-only away")
    config = f"{document.name}-experiment"
    return [one for one in found if one is document or (one.kind == "ConfigMap" and one.name == config)]


def _manifest(found: Sequence[Document]) -> str:
    return "\n".join(json.dumps(one.data) for one in found)


def status(kubectl: Kubectl) -> Iterator[str]:
    """A line for each sweep, cluster and pod; of what waits, why."""
    found = kubectl.get(["rayjobs", "rayclusters", "pods"])
    if not found:
        yield f"nothing runs in namespace {NAMESPACE}; orch infra apply OVERLAY --experiment NAME starts a sweep"
    for one in sorted(found, key=lambda one: (str(one.get("kind")) not in RAY_KINDS, _name(one))):
        told = {"RayJob": _job, "RayCluster": _cluster, "Pod": _pod}[str(one.get("kind"))](one)
        yield f"{one['kind'].lower():<10}  {_name(one)}  {told}"


def _job(one: Mapping[str, Any]) -> str:
    state = mapping(one, "status")
    told = f"{state.get('jobDeploymentStatus') or 'not seen by the operator yet'}"
    job = state.get("jobStatus")
    message = " ".join(str(state.get("message") or "").split())[-300:]
    return told + (f", job {str(job).lower()}" if job else "") + (f": {message}" if message else "")


def _cluster(one: Mapping[str, Any]) -> str:
    state = mapping(one, "status")
    told = str(state.get("state") or "not ready")
    workers = f"{state.get('availableWorkerReplicas', 0)} of {state.get('desiredWorkerReplicas', 0)} workers"
    return f"{told}, {workers}" + (f": {state['reason']}" if state.get("reason") else "")


def _pod(one: Mapping[str, Any]) -> str:
    state = mapping(one, "status")
    phase = str(state.get("phase") or "Unknown").lower()
    why = next(_reasons(state), "")
    return f"{_labels(one).get('app.kubernetes.io/component', '')}  {phase}" + (f": {why}" if why else "")


def _reasons(state: Mapping[str, Any]) -> Iterator[str]:
    """Why a pod waits, has stopped or cannot be placed."""
    for condition in sequence(state, "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield str(condition.get("message") or condition.get("reason"))
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in sequence(state, key):
            for kind in ("waiting", "terminated"):
                told = mapping(container, "state", kind)
                if told and told.get("reason") not in (None, "Completed", "PodInitializing", "ContainerCreating"):
                    message = f" ({told['message']})" if told.get("message") else ""
                    yield f"{container.get('name')}: {told['reason']}{message}"


def _name(one: Mapping[str, Any]) -> str:
    return str(mapping(one, "metadata").get("name"))


def _labels(one: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(one, "metadata", "labels")
