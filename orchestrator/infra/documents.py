"""A rendered manifest: its documents, and the pods, containers and variables in them, each with its path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.errors import ManifestError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
LONGEST = {"RayJob": 47, "RayCluster": 53}
"""Names of Ray's kinds: the operator appends to them, and Kubernetes takes 63 characters."""
RAY_KINDS = tuple(LONGEST)


@dataclass(frozen=True)
class Document:
    data: Mapping[str, Any]

    @property
    def api(self) -> str:
        return str(self.data.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        return str(self.data.get("kind", ""))

    @property
    def name(self) -> str:
        return str(mapping(self.data, "metadata").get("name", ""))

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def labels(self) -> Mapping[str, Any]:
        return mapping(self.data, "metadata", "labels")

    @property
    def spec(self) -> Mapping[str, Any]:
        return mapping(self.data, "spec")

    @property
    def cluster(self) -> tuple[str, Mapping[str, Any]] | None:
        """The Ray cluster's specification and its path, of a RayJob or a RayCluster."""
        if self.kind == "RayCluster":
            return "spec", self.spec
        if self.kind == "RayJob" and isinstance(self.spec.get("rayClusterSpec"), Mapping):
            return "spec.rayClusterSpec", self.spec["rayClusterSpec"]
        return None


@dataclass(frozen=True)
class Container:
    path: str
    data: Mapping[str, Any]
    init: bool = False

    @property
    def name(self) -> str:
        return str(self.data.get("name", ""))

    @property
    def image(self) -> str:
        return str(self.data.get("image", ""))

    @property
    def env(self) -> Sequence[Mapping[str, Any]]:
        return sequence(self.data, "env")

    @property
    def env_from(self) -> Sequence[Mapping[str, Any]]:
        return sequence(self.data, "envFrom")


@dataclass(frozen=True)
class Pod:
    document: Document
    path: str
    """Of its template."""
    template: Mapping[str, Any]

    @property
    def spec(self) -> Mapping[str, Any]:
        return mapping(self.template, "spec")

    @property
    def component(self) -> str:
        return str(mapping(self.template, "metadata", "labels").get("app.kubernetes.io/component", ""))

    @property
    def containers(self) -> Iterator[Container]:
        for key in ("initContainers", "containers"):
            for place, one in enumerate(sequence(self.spec, key)):
                yield Container(f"{self.path}.spec.{key}[{place}]", one, key == "initContainers")


def documents(text: str) -> list[Document]:
    """The documents of a YAML stream; ManifestError where it is none."""
    try:
        found = [one for one in yaml.load_all(text, _Loader) if one is not None]
    except yaml.YAMLError as error:
        raise ManifestError(f"the manifest is not YAML: {' '.join(str(error).split())}") from error
    for one in found:
        if not isinstance(one, Mapping):
            raise ManifestError(f"the manifest holds {one!r}, which is no Kubernetes object")
    return [Document(one) for one in found]


def pods(document: Document) -> Iterator[Pod]:
    """Every pod template of the document, wherever it stands."""
    for path, template in _templates(document.data, ""):
        yield Pod(document, path, template)


def _templates(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        spec = value.get("spec")
        if isinstance(spec, Mapping) and isinstance(spec.get("containers"), list):
            yield path, value
            return
        for key, below in value.items():
            yield from _templates(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for place, below in enumerate(value):
            yield from _templates(below, f"{path}[{place}]")


def ray_document(found: Sequence[Document]) -> Document | None:
    """The RayJob or RayCluster of a manifest; ManifestError where there are several."""
    ours = [one for one in found if one.kind in RAY_KINDS]
    if len(ours) > 1:
        raise ManifestError(f"the overlay holds {' and '.join(one.title for one in ours)}; one alone can be named")
    return ours[0] if ours else None


def is_name(kind: str, name: str) -> bool:
    """Whether the operator takes it for one of RAY_KINDS (DNS-1035)."""
    return len(name) <= LONGEST[kind] and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None


def grows(spec: Mapping[str, Any]) -> bool:
    """Whether the Ray cluster of this specification scales by itself."""
    return spec.get("enableInTreeAutoscaling") is True


def named(found: Sequence[Document], kind: str, name: str) -> Document | None:
    return next((one for one in found if one.kind == kind and one.name == name), None)


def variables(container: Container, found: Sequence[Document]) -> dict[str, str]:
    """What the manifest itself sets of a container's environment: not what Secrets and fields of the pod add."""
    told: dict[str, str] = {}
    for source in container.env_from:
        name = str(mapping(source, "configMapRef").get("name", ""))
        config = named(found, "ConfigMap", name)
        if config:
            prefix = str(source.get("prefix", ""))
            told |= {f"{prefix}{key}": str(value) for key, value in mapping(config.data, "data").items()}
    for entry in container.env:
        reference = mapping(entry, "valueFrom", "configMapKeyRef")
        config = named(found, "ConfigMap", str(reference.get("name", "")))
        if "value" in entry:
            told[str(entry["name"])] = str(entry["value"])
        elif config and reference.get("key") in mapping(config.data, "data"):
            told[str(entry["name"])] = str(config.data["data"][reference["key"]])
    return told


def mapping(value: Any, *keys: str) -> Mapping[str, Any]:
    """The mapping at that place; an empty one where there is none, so that rules need not ask."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def sequence(value: Any, *keys: str) -> Sequence[Mapping[str, Any]]:
    """The list of mappings at that place; an empty one where there is none."""
    below = mapping(value, *keys[:-1]).get(keys[-1])
    return [one for one in below if isinstance(one, Mapping)] if isinstance(below, list) else []
