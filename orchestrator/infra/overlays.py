"""What `infra/` holds: overlays, and the components that each has already."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import ManifestError
from orchestrator.yaml_text import parse

INFRA = Path(__file__).resolve().parents[2] / "infra"
"""Beside the package, in a checkout and where it is installed."""
LONG_LIVED = "long-lived"
"""It makes a cluster of what the others made of the job's, so that it must come after them."""
EXCLUSIVE = ("Kueue admits nothing that scales by itself", {"autoscaler", "kueue"})
FILES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


def overlays() -> list[str]:
    return _names(INFRA / "overlays")


def components() -> list[str]:
    return sorted(_names(INFRA / "components"), key=lambda name: (name == LONG_LIVED, name))


def overlay_folder(given: str) -> Path:
    """The folder of an overlay, by its name or by its path."""
    folder = INFRA / "overlays" / given if given in overlays() else Path(given)
    if not _file(folder):
        raise ManifestError(
            f"no overlay {given!r}; there are {', '.join(overlays())}, or give a folder with a kustomization.yaml"
        )
    return folder.resolve()


def addable(overlay: Path) -> list[str]:
    """The components that the overlay has not and that go with those that it has."""
    has = {folder.name for folder in included(overlay)}
    return [name for name in components() if name not in has and not _excluded(name, has)]


def component_folders(given: tuple[str, ...], overlay: Path) -> list[Path]:
    """The folders of components, in the order in which they apply; ManifestError for one that is there already."""
    has = set(included(overlay))
    found: list[Path] = []
    for name in sorted(dict.fromkeys(given), key=lambda name: Path(name).name == LONG_LIVED):
        folder = INFRA / "components" / name if name in components() else Path(name)
        if not _file(folder):
            raise ManifestError(
                f"--with {name}: no such component; there are {', '.join(components())}, or give a folder"
            )
        if folder.resolve() in has:
            raise ManifestError(f"--with {name}: the overlay has it already; leave it away")
        if other := _excluded(folder.name, {one.name for one in (*has, *found)}):
            raise ManifestError(f"--with {name}: it does not go with component {other}: {EXCLUSIVE[0]}")
        found.append(folder.resolve())
    return found


def _excluded(name: str, has: set[str]) -> str:
    """The component among `has` that this one does not go with."""
    _, pair = EXCLUSIVE
    return next(iter((pair - {name}) & has), "") if name in pair else ""


def included(folder: Path) -> Iterator[Path]:
    """Every component that a kustomization takes in, through its resources and components too."""
    data = kustomization(folder)
    for key in ("resources", "components"):
        for entry in data.get(key) or []:
            below = (folder / str(entry)).resolve()
            if below.is_dir():
                if key == "components":
                    yield below
                yield from included(below)


def kustomization(folder: Path) -> dict[str, Any]:
    path = _file(folder)
    if path is None:
        raise ManifestError(f"{folder}: no kustomization.yaml is there")
    try:
        data = parse(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ManifestError(f"{path}: a kustomization is a mapping, with resources")
    return data


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if _file(path)) if folder.is_dir() else []


def _file(folder: Path) -> Path | None:
    return next((folder / name for name in FILES if (folder / name).is_file()), None)
