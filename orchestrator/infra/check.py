"""Every overlay, alone and with each component, against schemas, the operator's rules and our own; offline."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.infra import demand
from orchestrator.infra.documents import Document, documents
from orchestrator.infra.finding import Finding
from orchestrator.infra.overlays import addable, overlay_folder, overlays
from orchestrator.infra.render import Request, render
from orchestrator.infra.rules import broken
from orchestrator.infra.schemas import Schemas
from trainables.errors import UserError

RENDERERS = 2
"""kubectl's at once."""


@dataclass(frozen=True)
class Checked:
    """What was found of one rendering."""

    title: str
    documents: int
    findings: tuple[Finding, ...]
    asks: str = ""
    """What it asks a cluster for."""


def requests(names: Sequence[str], components: Sequence[str], experiment: str | None) -> list[Request]:
    """What is to be rendered: with the components that are named, or else without any and with each that fits."""
    found: list[Request] = []
    for name in names or overlays():
        plain = Request(name, experiment=experiment)
        if components:
            found.append(replace(plain, components=tuple(components)))
            continue
        found.append(plain)
        found += [replace(plain, components=(one,)) for one in addable(overlay_folder(name))]
    return found


def check(wanted: Sequence[Request], crds: Path | None = None) -> Iterator[Checked]:
    """Each in its turn. A document that several renderings hold alike is held against its schema once."""
    schemas, seen = Schemas(crds), dict[str, tuple[Finding, ...]]()
    with ThreadPoolExecutor(RENDERERS) as pool:
        for request, text in zip(wanted, pool.map(_rendered, wanted), strict=True):
            title = " + ".join([request.overlay, *request.components])
            if isinstance(text, UserError):
                yield Checked(title, 0, (Finding("overlay", "render", str(text), "mend it", title),))
                continue
            found = documents(text)
            faults = [fault for one in found for fault in _schema_faults(one, schemas, seen)]
            faults += broken(found)
            told = tuple(replace(fault, where=title) for fault in faults)
            yield Checked(title, len(found), told, "" if faults else demand.told(found))


def _rendered(request: Request) -> str | UserError:
    try:
        return render(request)
    except UserError as error:
        return error


def _schema_faults(
    document: Document, schemas: Schemas, seen: dict[str, tuple[Finding, ...]]
) -> tuple[Finding, ...]:
    key = json.dumps(document.data, sort_keys=True, default=str)
    if key not in seen:
        seen[key] = tuple(schemas.findings(document))
    return seen[key]
