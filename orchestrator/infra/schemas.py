"""Documents against schemas: Kubernetes' own by kubernetes-validate, others' kinds by `infra/schemas/*.json`.

Strict: a field that the schema does not know is a finding, since the API server would drop it in silence.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import ManifestError
from orchestrator.infra import crds
from orchestrator.infra.documents import Document
from orchestrator.infra.finding import Finding, finding, shown
from orchestrator.infra.overlays import INFRA

KUBERNETES_VERSION = "1.32"
"""The oldest that is promised: what came later is refused."""
_DEFINITIONS = "https://kubernetes.io/api/_definitions.json"


class Schemas:
    """`crd_folder`: the full CRDs of other people's kinds, instead of the trimmed schemas of these. `kubernetes`:
    the version whose own kinds are meant."""

    def __init__(self, crd_folder: Path | None = None, kubernetes: str = KUBERNETES_VERSION) -> None:
        self._kubernetes = kubernetes
        self._own = _own_schemas()
        if crd_folder is not None:
            self._own |= _full_schemas(crd_folder)
        self._validators: dict[str, Any] = {}

    def findings(self, document: Document) -> Iterator[Finding]:
        validator = self._validator(document)
        if validator is None:
            told = f"there is no schema of {document.api} {document.kind}"
            mend = "mend the spelling, or add its schema to infra/schemas/"
            yield finding(document, "kind", told, mend)
            return
        for error in sorted(validator.iter_errors(document.data), key=lambda error: str(error.json_path)):
            yield from _findings(document, error)

    def _validator(self, document: Document) -> Any:
        key = f"{document.api} {document.kind}"
        if key not in self._validators:
            schema = self._own.get(key) or _core_schema(document.api, document.kind, self._kubernetes)
            self._validators[key] = schema and self._validator_class(schema, registry=self._registry)
        return self._validators[key]

    @cached_property
    def _validator_class(self) -> Any:
        from jsonschema.validators import Draft202012Validator

        return Draft202012Validator

    @cached_property
    def _registry(self) -> Any:
        from referencing import Registry, Resource

        registry: Any = Registry()
        definitions = _contents("_definitions.json", self._kubernetes)
        return registry.with_resource(_DEFINITIONS, Resource.from_contents(definitions))


def _own_schemas() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((INFRA / "schemas").glob("*.json")):
        text = path.read_text(encoding="utf-8").replace(f'"{crds.KUBERNETES}', f'"{_DEFINITIONS}#/$defs/')
        data = json.loads(text)
        found |= {kind: {**schema, "$defs": data.get("$defs", {})} for kind, schema in data["documents"].items()}
    return found


def _full_schemas(folder: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    paths = sorted(folder.glob("*.yaml")) if folder.is_dir() else []
    for path in paths:
        crd = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        text = json.dumps(crds.strict(crd)).replace(f'"{crds.KUBERNETES}', f'"{_DEFINITIONS}#/$defs/')
        found |= json.loads(text)["documents"]
    if not found:
        raise ManifestError(f"--crds {folder}: no *.yaml with a CustomResourceDefinition is there")
    return found


def _core_schema(api: str, kind: str, kubernetes: str) -> Any:
    short = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api)
    try:
        return _contents(f"{kind.lower()}-{short}.json", kubernetes)
    except FileNotFoundError:
        return None


@lru_cache(maxsize=64)
def _contents(name: str, kubernetes: str) -> Any:
    try:
        from kubernetes_validate.utils import schema_contents
    except ImportError as error:
        told = "the schemas of Kubernetes are not installed"
        raise ManifestError(f"{told}: pip install 'orch[infra]', or kubernetes-validate") from error
    return schema_contents(f"kubernetes-json-schema/v{kubernetes}.0-local-strict/{name}", kubernetes)


def _findings(document: Document, error: Any) -> Iterator[Finding]:
    path = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in error.absolute_path).lstrip(".")
    if error.validator == "additionalProperties" and isinstance(error.schema.get("properties"), Mapping):
        known = sorted(error.schema["properties"])
        for name in sorted(set(error.instance) - set(known)):
            near = difflib.get_close_matches(name, known, 1)
            mend = f"it is spelled {near[0]}" if near else f"fields are {', '.join(known[:40])}"
            yield finding(document, f"{path}.{name}".lstrip("."), "there is no such field", mend)
    elif error.validator == "required":
        absent = [name for name in error.validator_value if name not in error.instance]
        yield finding(document, path, f"{', '.join(absent)} must be given", "add it")
    elif error.validator in ("type", "enum", "oneOf"):
        allowed = _allowed(error)
        yield finding(document, path, f"{shown(error.instance)} is not {allowed}", f"give {allowed}")
    else:
        yield finding(document, path, error.message, "mend it; the schema allows nothing else")


def _allowed(error: Any) -> str:
    if error.validator == "enum":
        return " or ".join(repr(value) for value in error.validator_value)
    schemas = error.validator_value if error.validator == "oneOf" else [{"type": error.validator_value}]
    types = [one.get("type") for one in schemas]
    flat = [name for one in types for name in (one if isinstance(one, list) else [one])]
    return " or ".join(f"of type {name}" for name in dict.fromkeys(flat) if name and name != "null")
