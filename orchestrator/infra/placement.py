"""Whether the experiment of a manifest can ever be placed on the Ray nodes that the manifest brings up."""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from orchestrator.check import check_spec
from orchestrator.corpora import CORPORA
from orchestrator.errors import ManifestError
from orchestrator.experiment import ExperimentSpec, Scale, load, read
from orchestrator.infra.documents import (
    Container,
    Document,
    grows,
    mapping,
    pods,
    ray_document,
    sequence,
    variables,
)
from orchestrator.infra.entrypoint import Entrypoint
from orchestrator.launch.refusal import refusal
from orchestrator.launch.shapes import DRIVER_RESOURCE, MANY, Cluster, Node, needs_of
from orchestrator.resolve import corpus_type

EXPERIMENTS = "/experiments"
"""Where the containers find an experiment that is not in the image."""
_SUFFIXES = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024.0, "Mi": 1024.0**2, "Gi": 1024.0**3}


def quantity(text: object) -> float:
    """A Kubernetes quantity as a number; ManifestError for what is none."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    if not found or found[2] not in _SUFFIXES:
        raise ManifestError(f"{text!r} is no quantity such as 2, 500m or 4Gi")
    return float(found[1]) * _SUFFIXES[found[2]]


def experiment_of(entry: Entrypoint, found: Sequence[Document]) -> ExperimentSpec:
    """The experiment as its pods would load it, checked; an ExperimentError says what is wrong.

    Without a scale it is `full`, as orch chooses on a cluster.
    """
    scale, sets, corpora = entry.scale or "full", tuple(entry.all_sets), _corpora(found)
    if not entry.name.startswith(f"{EXPERIMENTS}/"):
        return _packaged(entry.name, scale, sets, corpora)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / Path(entry.name).name
        place.write_text(_mounted(place.name, found), encoding="utf-8")
        return _checked(str(place), scale, sets, corpora)


def _checked(name: str, scale: Scale, sets: tuple[str, ...], corpora: frozenset[str]) -> ExperimentSpec:
    data = read(name)
    corpus = corpus_type(data)
    stand_in = corpus in CORPORA and corpus not in corpora and bool(data.get("stand_in"))
    spec = load(name, scale=scale, stand_in=stand_in, sets=sets)
    check_spec(spec)
    return spec


_packaged = lru_cache(maxsize=64)(_checked)
"""Of an experiment that several renderings start alike."""


def check_placement(spec: ExperimentSpec, found: Sequence[Document]) -> None:
    """ManifestError with the sums where a role of the experiment could never be placed."""
    document = ray_document(found)
    if document is None or document.cluster is None:
        return
    cluster = cluster_of(document, found)
    for need in needs_of(spec.resources):
        if fault := refusal(cluster, need):
            way = "change the groups of the overlay, or the resources with --set"
            raise ManifestError(f"{spec.name} on {document.title}: {fault}; {way}")


def cluster_of(document: Document, found: Sequence[Document]) -> Cluster:
    """The nodes that a RayJob or RayCluster brings up, and those that its autoscaler may add."""
    _, spec = document.cluster or ("", {})
    present, more = [_node(mapping(spec, "headGroupSpec"), frozenset())], []
    told = node_groups(document, found)
    for group in sequence(spec, "workerGroupSpecs"):
        node = _node(group, _accelerators(group, told))
        hosts, least = int(group.get("numOfHosts", 1)), int(group.get("replicas", group.get("minReplicas", 0)))
        present += [node] * (hosts * least)
        most = int(group.get("maxReplicas", MANY)) if grows(spec) else least
        more += [(node, hosts * (most - least))] if most > least else []
    return Cluster(document.title, tuple(present), tuple(more))


def node_groups(document: Document, found: Sequence[Document]) -> Mapping[str, Any]:
    """ORCH_NODE_GROUPS as the head is given it; empty where it is not, or cannot be read."""
    try:
        told = json.loads(variables(ray_container(document), found).get("ORCH_NODE_GROUPS", "{}"))
    except (json.JSONDecodeError, ManifestError):
        return {}
    return told if isinstance(told, Mapping) else {}


def ray_container(document: Document) -> Container:
    """The first container of the head, which the driver runs in."""
    path, _ = document.cluster or ("", {})
    for pod in pods(document):
        if pod.path == f"{path}.headGroupSpec.template":
            return next(one for one in pod.containers if not one.init)
    raise ManifestError(f"{document.title}: its head has no container")


def node_resources(group: Mapping[str, Any]) -> dict[str, float]:
    """What Ray counts on a pod of a group: as the operator does, limits rounded up, then what it says."""
    limits = mapping(next(iter(sequence(group, "template", "spec", "containers")), {}), "resources", "limits")
    parameters, given = mapping(group, "rayStartParams"), mapping(group, "resources")
    counted = {"CPU": float(math.ceil(quantity(limits.get("cpu", 0)))), "GPU": 0.0}
    counted["GPU"] = sum(quantity(amount) for name, amount in limits.items() if str(name).endswith("gpu"))
    for name, parameter in (("CPU", "num-cpus"), ("GPU", "num-gpus")):
        counted[name] = quantity(parameters[parameter]) if parameter in parameters else counted[name]
    return counted | {str(name): quantity(amount) for name, amount in given.items()}


def _node(group: Mapping[str, Any], accelerators: frozenset[str]) -> Node:
    counted = node_resources(group)
    return Node(counted["CPU"], counted["GPU"], accelerators, int(counted.get(DRIVER_RESOURCE, 0)))


def _accelerators(group: Mapping[str, Any], told: Mapping[str, Any]) -> frozenset[str]:
    """The kinds of GPU as the manifest tells them; Ray finds the kind on the node itself."""
    kind = mapping(told, str(group.get("groupName"))).get("accelerator")
    named = {name.removeprefix("accelerator_type:") for name in mapping(group, "resources") if ":" in name}
    return frozenset(named | ({str(kind)} if kind else set()))


def _corpora(found: Sequence[Document]) -> frozenset[str]:
    """The corpora whose folder the head is told."""
    document = ray_document(found)
    given = variables(ray_container(document), found) if document else {}
    named = (name for name in given if name.startswith("ORCH_CORPORA__"))
    return frozenset(name.removeprefix("ORCH_CORPORA__").lower() for name in named)


def _mounted(file: str, found: Sequence[Document]) -> str:
    for document in found:
        if document.kind == "ConfigMap" and file in mapping(document.data, "data"):
            return str(document.data["data"][file])
    raise ManifestError(f"{EXPERIMENTS}/{file}: no ConfigMap of the manifest holds {file}")
