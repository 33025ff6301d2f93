"""Identity of what is stored: canonical JSON, fingerprints, and the record that makes an artifact visible.

An artifact is a folder `<kind>/<fingerprint>/` whose `record.json` is written last. Without the record there is
nothing: a reader sees no half-written artifact, and a writer that died is simply run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from trainables.errors import ArtifactError
from trainables.storage import Storage, sha256

RECORD = "record.json"
_PACKAGES = ("orch", "torch", "transformers", "numpy", "pyarrow")


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN. Pydantic models are dumped first."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def fingerprint(kind: str, schema: int, content: Any, reads: Mapping[str, str] | None = None) -> str:
    """Sixteen hexadecimal digits over the kind, its schema version, the content and what it was made from."""
    if isinstance(content, BaseModel):
        content = content.model_dump(mode="json")
    text = canonical_json({"kind": kind, "schema": schema, "content": content, "reads": dict(reads or {})})
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


class StoredFile(BaseModel):
    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class Record(BaseModel):
    """What stands beside every artifact: what made it, from what, and how to know that it is whole."""

    model_config = ConfigDict(frozen=True)

    kind: str
    fingerprint: str
    spec: dict[str, Any]
    reads: dict[str, str] = {}
    """Fingerprints of the artifacts that were read, by role."""
    rows: dict[str, int] = {}
    files: dict[str, StoredFile] = {}
    info: dict[str, Any] = {}
    """Facts that readers need, as each kind documents: label names, dimensions, scores."""
    versions: dict[str, str] = {}
    created: datetime
    seconds: float = 0.0
    """Wall time that making it took."""


def versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def read_record(storage: Storage, prefix: str) -> Record | None:
    """The record of the artifact at `prefix`, or None where there is none."""
    key = f"{prefix}/{RECORD}"
    if not storage.exists(key):
        return None
    try:
        return Record.model_validate_json(storage.read_text(key))
    except ValidationError as error:
        raise ArtifactError(
            f"{storage.url(key)}: not a record of this version ({error.error_count()} faults); remove {prefix}"
        ) from error


def publish(
    storage: Storage,
    prefix: str,
    folder: Path | None,
    record: Record,
    stored: Sequence[str] = (),
) -> Record:
    """Upload every file of `folder`, then the record with a checksum per file; returns the record written.

    `stored` names files (keys below `prefix`) that were uploaded earlier, shard by shard.
    """
    files: dict[str, StoredFile] = {}
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.is_file():
            key = path.relative_to(folder or path).as_posix()
            storage.upload(path, f"{prefix}/{key}")
            files[key] = StoredFile(size=path.stat().st_size, sha256=sha256(path))
    for key in stored:
        data = storage.read_bytes(f"{prefix}/{key}")
        files[key] = StoredFile(size=len(data), sha256=hashlib.sha256(data).hexdigest())
    record = record.model_copy(update={"files": files, "versions": versions(), "created": datetime.now(UTC)})
    storage.write_text(f"{prefix}/{RECORD}", record.model_dump_json(indent=1))
    return record


def fetch(storage: Storage, prefix: str, folder: Path, only: Sequence[str] | None = None) -> Record:
    """Download an artifact's files (all, or `only` these) into `folder`, each checked against its checksum."""
    record = read_record(storage, prefix)
    if record is None:
        raise ArtifactError(f"{storage.url(prefix)}: no record, so there is no such artifact; make it again")
    for key in only if only is not None else record.files:
        target = folder / key
        storage.download(f"{prefix}/{key}", target)
        if sha256(target) != record.files[key].sha256:
            target.unlink()
            raise ArtifactError(
                f"{storage.url(f'{prefix}/{key}')}: its checksum differs from its record; "
                f"remove {storage.url(prefix)} and run again"
            )
    return record
