"""No secret in a manifest, and no door into Ray: tokens written out, nothing exposed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.infra.documents import Container, Document, mapping, sequence
from orchestrator.infra.finding import Finding, finding
from orchestrator.infra.rules.clusters import clusters
from orchestrator.infra.rules.pods import every

SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|TOKEN|SECRET|CREDENTIALS?|PRIVATE_KEY|ACCESS_KEY|ACCESS_KEY_ID|API_KEY)$"
)
_CREDENTIAL = re.compile(r"://[^/\s'\"@:]*:[^/\s'\"@]+@")
OPEN = ("NodePort", "LoadBalancer")


def secrets(found: Sequence[Document]) -> Iterator[Finding]:
    for document in found:
        if document.kind == "Secret" and (document.data.get("data") or document.data.get("stringData")):
            mend = "make it in the cluster; orch infra apply makes those that may be random"
            yield finding(document, "data", "a Secret with its content stands in the manifest", mend)


def variables(found: Sequence[Document]) -> Iterator[Finding]:
    for document, _, container in every(found):
        for entry in container.env:
            name = str(entry.get("name"))
            if SECRET_NAME.search(name.upper()) and entry.get("value"):
                told = "its value stands in the manifest"
                yield finding(document, f"{container.path}.env.{name}", told, "give it by secretKeyRef")
    for document in found:
        for name in mapping(document.data, "data") if document.kind == "ConfigMap" else ():
            if SECRET_NAME.search(str(name).upper()):
                yield finding(document, f"data.{name}", "its value stands in the manifest", "put it into a Secret")


def addresses(found: Sequence[Document]) -> Iterator[Finding]:
    """A password in a URL, wherever it stands."""
    for document in found:
        for path, text in _texts(document.data, ""):
            if _CREDENTIAL.search(text):
                yield finding(
                    document, path, "a URL with a user and a password", "give them by Secret, as variables"
                )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _texts(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _texts(below, f"{path}[{place}]")


def runtime_environment(found: Sequence[Document]) -> Iterator[Finding]:
    """The dashboard shows it to everybody who reaches it."""
    for document in found:
        if document.spec.get("runtimeEnvYAML"):
            told = "who reaches the dashboard reads it, and the image has all that runs"
            yield finding(document, "spec.runtimeEnvYAML", told, "leave it away; variables go into orch-settings")


def authentication(found: Sequence[Document]) -> Iterator[Finding]:
    for document, path, spec in clusters(found):
        options = mapping(spec, "authOptions")
        if options.get("mode") != "token":
            told = f"{options.get('mode')!r}: who reaches the head runs code on it"
            yield finding(document, f"{path}.authOptions.mode", told, "give token")
        elif not options.get("secretName"):
            told = "without a secretName every retry has another token, and ours are not known"
            yield finding(document, f"{path}.authOptions.secretName", told, "give orch-ray-token")


def exposure(found: Sequence[Document]) -> Iterator[Finding]:
    """Everything is reached by a port-forward."""
    mend = "give ClusterIP, and reach it by kubectl port-forward"
    for document in found:
        kind = document.spec.get("type")
        if document.kind == "Service" and (kind in OPEN or document.spec.get("externalIPs")):
            yield finding(document, "spec.type", f"{kind!r} is reached from outside the cluster", mend)
        if document.kind in ("Ingress", "HTTPRoute", "Gateway", "Route", "TCPRoute"):
            yield finding(
                document, "kind", "it leads from outside the cluster", "leave it away; use a port-forward"
            )
    for document, path, spec in clusters(found):
        head, place = mapping(spec, "headGroupSpec"), f"{path}.headGroupSpec"
        for where, kind in (
            ("serviceType", head.get("serviceType")),
            ("headService.spec.type", mapping(head, "headService", "spec").get("type")),
        ):
            if kind in OPEN:
                yield finding(document, f"{place}.{where}", f"{kind!r} shows the dashboard to the world", mend)
        if head.get("enableIngress"):
            told = "true shows the dashboard to the world"
            yield finding(document, f"{place}.enableIngress", told, "leave it away")


def host_ports(found: Sequence[Document]) -> Iterator[Finding]:
    for document, _, container in every(found):
        for port in _ports(container):
            if port.get("hostPort"):
                told = f"{port['hostPort']} opens a port of the node"
                yield finding(document, f"{container.path}.ports", told, "leave hostPort away")


def _ports(container: Container) -> Sequence[Mapping[str, Any]]:
    return sequence(container.data, "ports")


RULES = (secrets, variables, addresses, runtime_environment, authentication, exposure, host_ports)
