"""What must agree with this project: the sweep that is started, one Ray everywhere, the settings' own spelling."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from orchestrator.errors import ManifestError
from orchestrator.infra.documents import Document, Pod, grows, mapping, named, pods, ray_document, sequence
from orchestrator.infra.documents import variables as told_variables
from orchestrator.infra.entrypoint import parse
from orchestrator.infra.finding import Finding, finding, shown
from orchestrator.infra.placement import check_placement, cluster_of, experiment_of, node_groups, ray_container
from orchestrator.infra.rules.clusters import clusters, groups, workers
from orchestrator.infra.rules.jobs import jobs
from orchestrator.infra.rules.pods import every
from orchestrator.infra.spelling import misspelt, wrong_value
from orchestrator.launch.shapes import Node
from trainables.errors import UserError

DEADLINES = ("backoffLimit", "activeDeadlineSeconds", "preRunningDeadlineSeconds", "shutdownAfterJobFinishes")


def deadlines(found: Sequence[Document]) -> Iterator[Finding]:
    """The status of a RayJob is known to hang; only these end it."""
    for job, spec in jobs(found):
        for key in DEADLINES:
            if not spec.get(key):
                yield finding(job, f"spec.{key}", f"{spec.get(key)}", "give it, so that a sweep that hangs ends")


def sweeps(found: Sequence[Document]) -> Iterator[Finding]:
    """The experiment of the entrypoint exists, takes what is set, and has room on the nodes."""
    for job, spec in jobs(found):
        try:
            check_placement(experiment_of(parse(str(spec.get("entrypoint", ""))), found), found)
        except UserError as error:
            yield finding(job, "spec.entrypoint", str(error), "mend the entrypoint or the nodes")


def ray_versions(found: Sequence[Document]) -> Iterator[Finding]:
    """Of the manifest and of what is installed here, which is what the image pins."""
    for document, path, spec in clusters(found):
        if spec.get("rayVersion") != (here := _ray_version()):
            told = f"{spec.get('rayVersion')!r}, and the image has {here}"
            yield finding(document, f"{path}.rayVersion", told, f"give {here!r}")
        heads = (sequence(group, "template", "spec", "containers")[:1] for _, _, group in groups(path, spec))
        images = {str(one.get("image")) for first in heads for one in first}
        if len(images) > 1:
            told = f"{' and '.join(sorted(images))}: Ray's nodes must be of one version"
            yield finding(document, f"{path}", told, "give head and workers the same image")


@lru_cache(maxsize=1)
def _ray_version() -> str:
    return version("ray")


def spelling(found: Sequence[Document]) -> Iterator[Finding]:
    """Names that nothing reads, of containers and of the settings that they take in."""
    read = " ".join(_scripts(found))
    for document, path, name in _names(found):
        if (fault := misspelt(name)) and not re.search(rf"\b{re.escape(name)}\b", read):
            yield finding(document, f"{path}.{name}", "nothing reads that variable", fault)


def _names(found: Sequence[Document]) -> Iterator[tuple[Document, str, str]]:
    for document, _, container in every(found):
        for entry in container.env:
            yield document, f"{container.path}.env", str(entry.get("name"))
    for document in found:
        if document.kind == "ConfigMap" and _is_environment(document, found):
            for name in mapping(document.data, "data"):
                yield document, "data", str(name)


def _scripts(found: Sequence[Document]) -> Iterator[str]:
    """What the manifest itself runs, which may read variables of its own."""
    for document in found:
        if document.kind == "ConfigMap":
            yield from (str(value) for value in mapping(document.data, "data").values())
    for _, _, container in every(found):
        yield from (str(word) for key in ("command", "args") for word in container.data.get(key) or [])


def _is_environment(config: Document, found: Sequence[Document]) -> bool:
    sources = (source for _, _, one in every(found) for source in one.env_from)
    return any(mapping(source, "configMapRef").get("name") == config.name for source in sources)


def values(found: Sequence[Document]) -> Iterator[Finding]:
    """Settings that orch would refuse when it starts."""
    document = ray_document(found)
    if document is None:
        return
    try:
        told = told_variables(ray_container(document), found)
    except ManifestError:
        return
    for name, value in sorted(told.items()):
        try:
            wrong_value(name, value)
        except UserError as error:
            yield finding(document, f"environment.{name}", f"{shown(value)}: {error}", "mend it in orch-settings")


def grown_groups(found: Sequence[Document]) -> Iterator[Finding]:
    """ORCH_NODE_GROUPS is all that a sweep knows of nodes that are not there yet."""
    for document, path, spec in clusters(found):
        told = node_groups(document, found)
        if not grows(spec):
            if told:
                text = f"{sorted(told)}, and nothing scales the cluster"
                yield finding(document, "environment.ORCH_NODE_GROUPS", text, "leave it away")
            continue
        made = {name: dict(_group(group, document, found)) for _, name, group in workers(path, spec)}
        for name in sorted({*made, *told}):
            entry = mapping(told, name)
            said = {key: entry.get(key, 0) for key in ("cpus", "gpus", "drivers", "maximum")}
            if name not in made or said != made[name]:
                text = f"{name} is {shown(told.get(name))}"
                mend = f"its worker group says {made[name]}" if name in made else "no worker group has that name"
                yield finding(document, "environment.ORCH_NODE_GROUPS", text, mend)


def _group(group: Mapping[str, Any], document: Document, found: Sequence[Document]) -> Mapping[str, Any]:
    one = {**group, "replicas": 1, "numOfHosts": 1, "maxReplicas": 1}
    spec = {"headGroupSpec": {}, "workerGroupSpecs": [one]}
    node: Node = cluster_of(Document({"kind": "RayCluster", "spec": spec}), ()).nodes[1]
    most = int(group.get("maxReplicas", 0)) * int(group.get("numOfHosts", 1))
    return {"cpus": node.cpus, "gpus": node.gpus, "drivers": node.drivers, "maximum": most}


def settings_there(found: Sequence[Document]) -> Iterator[Finding]:
    """ConfigMaps, accounts and claims that pods name and the manifest does not hold: such a pod waits for ever."""
    for document in found:
        for pod in pods(document):
            for kind, name, path in _references(pod):
                if name and named(found, kind, name) is None:
                    yield finding(document, path, f"there is no {kind} {name}", "mend the name, or add it")


def _references(pod: Pod) -> Iterator[tuple[str, str, str]]:
    account = str(pod.spec.get("serviceAccountName", ""))
    yield "ServiceAccount", account if account != "default" else "", f"{pod.path}.spec.serviceAccountName"
    for volume in sequence(pod.spec, "volumes"):
        config, claim = mapping(volume, "configMap"), mapping(volume, "persistentVolumeClaim")
        path = f"{pod.path}.spec.volumes.{volume.get('name')}"
        yield "ConfigMap", "" if config.get("optional") else str(config.get("name", "")), path
        yield "PersistentVolumeClaim", str(claim.get("claimName", "")), path
    for container in pod.containers:
        sources = [(mapping(one, "configMapRef"), "envFrom") for one in container.env_from]
        sources += [
            (mapping(one, "valueFrom", "configMapKeyRef"), f"env.{one.get('name')}") for one in container.env
        ]
        for reference, key in sources:
            name = "" if reference.get("optional") else str(reference.get("name", ""))
            yield "ConfigMap", name, f"{container.path}.{key}"


def labels(found: Sequence[Document]) -> Iterator[Finding]:
    """Policies and status find things by them."""
    for document in found:
        if document.labels.get("app.kubernetes.io/part-of") != "orch":
            told = "no app.kubernetes.io/part-of: orch"
            yield finding(document, "metadata.labels", told, "add it, so that policies and status find it")
        for pod in pods(document):
            if not re.fullmatch(r"[a-z]+(-[a-z]+)*", pod.component):
                told = f"app.kubernetes.io/component is {pod.component!r}"
                yield finding(document, f"{pod.path}.metadata.labels", told, "name what the pod is")


RULES = (deadlines, sweeps, ray_versions, spelling, values, grown_groups, settings_there, labels)
