"""What every pod must say: what it may use, which image, and that it has no rights (restricted pod security)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import ManifestError
from orchestrator.infra.documents import Container, Document, Pod, grows, mapping, pods
from orchestrator.infra.finding import Finding, finding
from orchestrator.infra.placement import quantity
from orchestrator.infra.rules.clusters import clusters

AMOUNTS = ("cpu", "memory", "ephemeral-storage")


def every(found: Sequence[Document]) -> Iterator[tuple[Document, Pod, Container]]:
    for document in found:
        for pod in pods(document):
            for container in pod.containers:
                yield document, pod, container


def _running(found: Sequence[Document]) -> Iterator[tuple[Document, str, Mapping[str, Any]]]:
    """(document, path, what it says) of every container, and of the autoscaler's that the operator adds."""
    for document, _, container in every(found):
        yield document, container.path, container.data
    for document, path, spec in clusters(found):
        if grows(spec):
            yield document, f"{path}.autoscalerOptions", mapping(spec, "autoscalerOptions")


def amounts(found: Sequence[Document]) -> Iterator[Finding]:
    """Requests and limits."""
    for document, path, container in _running(found):
        yield from _amounts(document, path, container)


def _amounts(document: Document, path: str, holder: Mapping[str, Any]) -> Iterator[Finding]:
    resources = mapping(holder, "resources")
    for key in ("requests", "limits"):
        absent = [name for name in AMOUNTS if name not in mapping(resources, key)]
        if absent:
            yield finding(document, f"{path}.resources.{key}", f"no {', '.join(absent)}", "say how much")
    for name, limit in mapping(resources, "limits").items():
        request = mapping(resources, "requests").get(name, limit)
        try:
            above = quantity(request) > quantity(limit)
        except ManifestError as error:
            yield finding(document, f"{path}.resources", str(error), "mend it")
            continue
        if above:
            told = f"{request} is more than the limit {limit}"
            yield finding(document, f"{path}.resources.requests.{name}", told, "ask for no more than the limit")
        if str(name).endswith("/gpu") and request != limit:
            told = f"{request} is not the limit {limit}, and Kubernetes shares no GPU"
            yield finding(document, f"{path}.resources.requests.{name}", told, "give the same")


def images(found: Sequence[Document]) -> Iterator[Finding]:
    for document, _, container in every(found):
        tagged = re.search(r"(:[^/:@]+|@sha256:[0-9a-f]{64})$", container.image)
        if not tagged or tagged[1] == ":latest":
            told = f"{container.image!r} may be another image tomorrow"
            yield finding(document, f"{container.path}.image", told, "give a tag of a version, not 'latest'")


def pod_security(found: Sequence[Document]) -> Iterator[Finding]:
    for document in found:
        for pod in pods(document):
            context, place = mapping(pod.spec, "securityContext"), f"{pod.path}.spec"
            if context.get("runAsNonRoot") is not True or not context.get("runAsUser"):
                told = f"runAsNonRoot {context.get('runAsNonRoot')}, runAsUser {context.get('runAsUser')}"
                yield finding(
                    document, f"{place}.securityContext", told, "give runAsNonRoot: true and a user not 0"
                )
            if mapping(context, "seccompProfile").get("type") not in ("RuntimeDefault", "Localhost"):
                told = "no seccompProfile"
                yield finding(document, f"{place}.securityContext", told, "give seccompProfile: RuntimeDefault")
            for key in ("hostNetwork", "hostPID", "hostIPC"):
                if pod.spec.get(key):
                    yield finding(document, f"{place}.{key}", "it shares what is the node's", "leave it away")
            if any("hostPath" in volume for volume in pod.spec.get("volumes") or []):
                yield finding(document, f"{place}.volumes", "a hostPath is the node's own disk", "use an emptyDir")


def container_security(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, container in _running(found):
        yield from _context(document, path, container)


def _context(document: Document, path: str, holder: Mapping[str, Any]) -> Iterator[Finding]:
    context, place = mapping(holder, "securityContext"), f"{path}.securityContext"
    if context.get("allowPrivilegeEscalation") is not False:
        yield finding(document, place, "it may gain rights", "give allowPrivilegeEscalation: false")
    if "ALL" not in (mapping(context, "capabilities").get("drop") or []) or mapping(context, "capabilities").get(
        "add"
    ):
        yield finding(document, place, "it keeps capabilities", "give capabilities: {drop: [ALL]}, and add none")
    if context.get("readOnlyRootFilesystem") is not True:
        mend = "give readOnlyRootFilesystem: true, and an emptyDir where it writes"
        yield finding(document, place, "it may write to its image", mend)
    if context.get("privileged") or context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
        yield finding(document, place, "it runs as root", "leave that away; the pod's user will do")


def api_tokens(found: Sequence[Document]) -> Iterator[Finding]:
    """A token of Kubernetes' API is mounted where a container needs one, and nowhere by default."""
    for document in found:
        for pod in pods(document):
            if pod.spec.get("automountServiceAccountToken") is not False:
                told = f"{pod.spec.get('automountServiceAccountToken')}: every container gets a token of the API"
                yield finding(document, f"{pod.path}.spec.automountServiceAccountToken", told, "give false")


def submitter(found: Sequence[Document]) -> Iterator[Finding]:
    """Left away, the operator makes one that says nothing of rights or disk, which `restricted` refuses."""
    for document in found:
        mode = document.spec.get("submissionMode", "K8sJobMode")
        if document.kind == "RayJob" and mode == "K8sJobMode" and "submitterPodTemplate" not in document.spec:
            told = "the operator's own submitter has no security context, and the namespace refuses it"
            yield finding(document, "spec.submitterPodTemplate", told, "give one")


RULES = (amounts, images, pod_security, container_security, api_tokens, submitter)
