"""What a manifest asks a cluster for, in sums, so that its price is known before it is applied."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.infra.documents import Document, Pod, grows, mapping, pods, sequence
from orchestrator.infra.placement import quantity

GIB = 1024.0**3


@dataclass(frozen=True)
class Demand:
    cpus: float
    memory: float
    """GiB, as are the volumes."""
    gpus: int
    volumes: float

    def __str__(self) -> str:
        told = f"{self.cpus:.1f} CPUs, {self.memory:.1f} GiB"
        return told + (f", {self.gpus} GPU{'s' if self.gpus > 1 else ''}" if self.gpus else "")


def demand(found: Sequence[Document], *, grown: bool = False) -> Demand:
    """The requests of all pods at once; `grown`: with as many workers as an autoscaler may start."""
    sums: defaultdict[str, float] = defaultdict(float)
    volumes = 0.0
    for document in found:
        for pod in pods(document):
            for name, amount in _requests(pod).items():
                sums[name] += amount * _count(pod, grown)
        volumes += sum(_volumes(document))
    gpus = sum(amount for name, amount in sums.items() if name.endswith("gpu"))
    return Demand(sums["cpu"], sums["memory"] / GIB, int(gpus), volumes / GIB)


def told(found: Sequence[Document]) -> str:
    """One line's worth."""
    now, most = demand(found), demand(found, grown=True)
    volumes = f", {now.volumes:.0f} GiB of volumes" if now.volumes else ""
    return f"asks for {now}{volumes}" + (f"; with all workers {most}" if most != now else "")


def _requests(pod: Pod) -> dict[str, float]:
    """Of its containers, and of the sidecar that the operator puts beside a head that scales."""
    asked: defaultdict[str, float] = defaultdict(float)
    holders: list[Mapping[str, Any]] = [one.data for one in pod.containers if not one.init]
    cluster = (pod.document.cluster or ("", {}))[1]
    if pod.path.endswith("headGroupSpec.template") and grows(cluster):
        holders.append(mapping(cluster, "autoscalerOptions"))
    for holder in holders:
        for name, amount in mapping(holder, "resources", "requests").items():
            asked[str(name)] += quantity(amount)
    return asked


def _count(pod: Pod, grown: bool) -> int:
    group = re.search(r"workerGroupSpecs\[(\d+)\]", pod.path)
    if group is None or pod.document.cluster is None:
        return int(mapping(pod.document.data, "spec").get("replicas", 1))
    cluster = pod.document.cluster[1]
    spec = sequence(cluster, "workerGroupSpecs")[int(group[1])]
    scaled = grown and grows(cluster)
    count = spec.get("maxReplicas" if scaled else "replicas", spec.get("minReplicas", 0))
    return int(count) * int(spec.get("numOfHosts", 1))


def _volumes(document: Document) -> Iterator[float]:
    claims = [mapping(one, "spec") for one in sequence(document.spec, "volumeClaimTemplates")]
    claims += [document.spec] if document.kind == "PersistentVolumeClaim" else []
    for claim in claims:
        yield quantity(mapping(claim, "resources", "requests").get("storage", 0))
