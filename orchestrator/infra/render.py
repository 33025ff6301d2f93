"""What would be applied: an overlay, with components, and an experiment laid on its RayJob by JSON patches.

All of it is a kustomization in a temporary folder and `kubectl kustomize`, so that what is printed is what is
applied, and the same request gives the same bytes.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.errors import ManifestError
from orchestrator.experiment import Scale
from orchestrator.infra.documents import LONGEST, Document, documents, is_name, mapping, pods, ray_document
from orchestrator.infra.entrypoint import Entrypoint, parse
from orchestrator.infra.given_settings import credential, settings_patch
from orchestrator.infra.kubectl import NAMESPACE, kustomize
from orchestrator.infra.overlays import component_folders, overlay_folder
from orchestrator.infra.placement import EXPERIMENTS, check_placement, experiment_of, ray_container

EXPERIMENT = "orch/experiment"
INSTANCE = "app.kubernetes.io/instance"


@dataclass(frozen=True)
class Request:
    overlay: str
    experiment: str | None = None
    sets: tuple[str, ...] = ()
    scale: Scale | None = None
    trials: int | None = None
    seed: int | None = None
    components: tuple[str, ...] = ()
    image: str | None = None
    """NAME, or NAME:TAG, of our image in a registry."""
    name: str | None = None
    settings: tuple[str, ...] = ()
    """NAME=VALUE, of the variables that every Ray pod gets."""


@dataclass(frozen=True)
class _Layer:
    """A kustomization's own part."""

    patches: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)


def render(request: Request) -> str:
    """ManifestError or ExperimentError where the request cannot be, or could never be placed."""
    folder = overlay_folder(request.overlay)
    components = component_folders(request.components, folder)
    plain = _kustomized(folder, components, _Layer())
    found = documents(plain)
    document = ray_document(found)
    if document is None:
        if _says_something(request):
            raise ManifestError(f"{request.overlay}: it has no RayJob or RayCluster that could be changed")
        return plain
    layer = _layer(request, document)
    if layer == _Layer():
        _check(request, found)
        return plain
    text = _kustomized(folder, components, layer)
    _check(request, documents(text))
    return text


def _says_something(request: Request) -> bool:
    given = (request.experiment, request.sets, request.trials, request.seed, request.image, request.name)
    return any((*given, request.settings))


def _layer(request: Request, document: Document) -> _Layer:
    entry = _entrypoint(request, document)
    file = _experiment_file(request) if document.kind == "RayJob" else None
    name = request.name or _default_name(request, file) if document.kind == "RayJob" else request.name
    _check_name(document.kind, name or document.name)
    patch: list[dict[str, Any]] = []
    if name:
        patch.append({"op": "add", "path": "/metadata/name", "value": name})
    if entry is not None:
        patch.append({"op": "add", "path": "/spec/entrypoint", "value": entry.text()})
        labels = dict(document.labels) | {INSTANCE: name or document.name, EXPERIMENT: Path(entry.name).stem[:63]}
        patch.append({"op": "add", "path": "/metadata/labels", "value": labels})
    files: dict[str, str] = {}
    if file is not None:
        config = f"{name}-experiment"
        files["experiment.yaml"] = json.dumps(_config_map(config, file))
        patch += _mounts(document, config)
    patches = [{"target": {"kind": document.kind}, "patch": json.dumps(patch)}] if patch else []
    patches += [settings_patch(request.settings)] if request.settings else []
    return _Layer(patches, _images(request, document), files)


def _entrypoint(request: Request, document: Document) -> Entrypoint | None:
    """The changed one; None where nothing of it is asked for."""
    changes = (request.experiment, request.scale, request.trials, request.seed, request.sets)
    if document.kind == "RayCluster":
        if any(changes[1:]):
            raise ManifestError(
                "a long-lived cluster has no sweep of its own: give --scale, --trials, --seed and --set "
                "to orch submit; of --experiment only the room that it needs is checked here"
            )
        return None
    if not any(change not in (None, ()) for change in changes):
        return None
    try:
        entry = parse(str(document.spec.get("entrypoint", "")))
    except ManifestError as error:
        raise ManifestError(f"{document.title}: spec.entrypoint: {error}") from error
    for change in request.sets:
        if credential(change):
            raise ManifestError(
                f"--set {change.partition('=')[0]}: its value holds a user or a password, and whoever reads the "
                "RayJob or reaches the dashboard sees it; give it as a Secret of the namespace"
            )
    file = _experiment_file(request)
    return entry.changed(
        name=f"{EXPERIMENTS}/{file.name}" if file else request.experiment,
        scale=request.scale,
        trials=request.trials,
        seed=request.seed,
        sets=request.sets,
    )


def _experiment_file(request: Request) -> Path | None:
    given = request.experiment
    if not given or Path(given).suffix not in (".yaml", ".yml"):
        return None
    if not re.fullmatch(r"[-._A-Za-z0-9]+", Path(given).name):
        raise ManifestError(f"--experiment {given}: its name becomes a ConfigMap's key; use letters, digits, '-._'")
    return Path(given)


def _default_name(request: Request, file: Path | None) -> str | None:
    return file.stem.lower().replace("_", "-") if file else request.experiment


def _check_name(kind: str, name: str) -> None:
    if not is_name(kind, name):
        raise ManifestError(
            f"{name!r} cannot name a {kind}: at most {LONGEST[kind]} lower-case letters, digits and '-', "
            "a letter first; give another with --name"
        )


def _config_map(name: str, file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"--experiment {file}: cannot be read as UTF-8 text: {error}") from error
    if credential(text):
        raise ManifestError(f"--experiment {file}: it holds a URL with a user or a password; take them out")
    labels = {"app.kubernetes.io/part-of": "orch"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {file.name: text}}


def _mounts(document: Document, config: str) -> list[dict[str, Any]]:
    """Patches that mount the ConfigMap in every Ray pod."""
    found: list[dict[str, Any]] = []
    path, _ = document.cluster or ("", {})
    for pod in pods(document):
        if pod.path.startswith(f"{path}."):
            spec = "/" + re.sub(r"\[(\d+)\]", r"/\1", pod.path).replace(".", "/") + "/spec"
            volume = {"name": "experiment", "configMap": {"name": config}}
            mount = {"name": "experiment", "mountPath": EXPERIMENTS, "readOnly": True}
            found += _appended(pod.spec, spec, "volumes", volume)
            found += _appended(pod.spec["containers"][0], f"{spec}/containers/0", "volumeMounts", mount)
    return found


def _appended(holder: Mapping[str, Any], path: str, key: str, entry: Any) -> list[dict[str, Any]]:
    if key in holder:
        return [{"op": "add", "path": f"{path}/{key}/-", "value": entry}]
    return [{"op": "add", "path": f"{path}/{key}", "value": [entry]}]


def _images(request: Request, document: Document) -> list[dict[str, str]]:
    """Our image by another name, and under one tag where one is given: else each keeps its own."""
    if request.image is None:
        return []
    name, _, digest = request.image.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        head, tag = name, ""
    if not re.fullmatch(r"[a-z0-9][a-z0-9._:/-]*", head) or tag == "latest":
        raise ManifestError(f"--image {request.image}: give REGISTRY/NAME or REGISTRY/NAME:TAG, and no 'latest'")
    ours = re.sub(r"(@.*|:[^/]*)$", "", ray_container(document).image)
    entry: dict[str, str] = {"name": ours, "newName": head}
    return [entry | ({"newTag": tag} if tag else {}) | ({"digest": digest} if digest else {})]


def _check(request: Request, found: Sequence[Document]) -> None:
    """The experiment that would run, or that is to be submitted, and its place on the nodes."""
    document = ray_document(found)
    if document is None or (document.kind == "RayCluster" and request.experiment is None):
        return
    if document.kind == "RayCluster":
        entry = Entrypoint(("orch", "sweep"), request.experiment or "")
    else:
        try:
            entry = parse(str(mapping(document.data, "spec").get("entrypoint", "")))
        except ManifestError as error:
            raise ManifestError(f"{document.title}: spec.entrypoint: {error}") from error
    check_placement(experiment_of(entry, found), found)


def _kustomized(overlay: Path, components: Sequence[Path], layer: _Layer) -> str:
    with tempfile.TemporaryDirectory(prefix="orch-render-") as made:
        folder = Path(made).resolve()
        for name, text in layer.files.items():
            (folder / name).write_text(text, encoding="utf-8")
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(overlay, folder), *layer.files],
            "components": [os.path.relpath(one, folder) for one in components],
            "patches": layer.patches,
            "images": layer.images,
        }
        (folder / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
        try:
            return kustomize(folder)
        except ManifestError as error:
            raise ManifestError(str(error).replace(str(folder), str(overlay))) from error
