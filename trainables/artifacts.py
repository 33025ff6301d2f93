"""Identity of what is stored: canonical JSON, fingerprints, and the record that makes an artifact visible.

An artifact is a folder `<kind>/<fingerprint>/` whose `record.json` is written last. Without the record there is
nothing: a reader sees no half-written artifact, and a writer that died is simply run again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from trainables import disk
from trainables.errors import ArtifactError
from trainables.storage import Storage, StorageError, sha256

RECORD = "record.json"
_PIECE = 8 * 2**20
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

    @classmethod
    def of(cls, path: Path) -> StoredFile:
        return cls(size=path.stat().st_size, sha256=sha256(path))

    def fault(self, path: Path) -> str | None:
        """How a local copy differs; None where it does not."""
        size = path.stat().st_size
        if size != self.size:
            return f"it has {size} bytes, and its record says {self.size}"
        return None if sha256(path) == self.sha256 else "its checksum differs from its record"


def _relative(key: str) -> str:
    """A record may come from whoever can write to the store, and its files are copied to local folders."""
    parts = key.split("/")
    if not set(parts).isdisjoint(("", ".", "..")) or not set(key).isdisjoint("\\:\0"):
        raise ValueError(f"{key!r} is no file below an artifact")
    return key


def is_name(name: str) -> bool:
    """Whether it can be one folder's and never leads out of the folder that it is in."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) is not None


def _named(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"{name!r} is no fingerprint")
    return name


FileKey = Annotated[str, AfterValidator(_relative)]
FolderName = Annotated[str, AfterValidator(_named)]


class Record(BaseModel):
    """What stands beside every artifact: what made it, from what, and how to know that it is whole."""

    model_config = ConfigDict(frozen=True)

    kind: str
    fingerprint: FolderName
    spec: dict[str, Any]
    reads: dict[str, FolderName] = {}
    """Fingerprints of the artifacts that were read, by role."""
    rows: dict[str, int] = {}
    files: dict[FileKey, StoredFile] = {}
    info: dict[str, Any] = {}
    """Facts that readers need, as each kind documents: label names, dimensions, scores."""
    versions: dict[str, str] = {}
    created: datetime
    seconds: float = 0.0
    """Wall time that making it took."""
    checksum: str = ""
    """Of everything else here, as it is written; empty in what was written before there was one."""


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
    try:
        data = storage.read_bytes(f"{prefix}/{RECORD}")
    except StorageError as error:
        if _absent(error):
            return None
        raise
    try:
        record = Record.model_validate_json(data)
    except ValidationError as error:
        fault = f"not a record of this version ({error.error_count()} faults)"
        raise ArtifactError(_with_way_out(storage, prefix, RECORD, fault)) from error
    if record.checksum not in ("", _checksum(data)):
        raise ArtifactError(_with_way_out(storage, prefix, RECORD, "its checksum differs from its content"))
    return record


def publish(
    storage: Storage,
    prefix: str,
    folder: Path | None,
    record: Record,
    stored: Sequence[str] | Mapping[str, StoredFile] = (),
) -> Record:
    """Upload every file of `folder`, then the record with a checksum per file; returns the record written.

    `stored` names files (keys below `prefix`) that were uploaded earlier, shard by shard. Where it does not say
    what they are, they are read again, a piece at a time.
    """
    files: dict[str, StoredFile] = {}
    for path in sorted(folder.rglob("*")) if folder else []:
        if path.is_file():
            key = path.relative_to(folder or path).as_posix()
            files[key] = StoredFile.of(path)
            storage.upload(path, f"{prefix}/{key}")
    known = stored if isinstance(stored, Mapping) else {}
    for key in stored:
        files[key] = known[key] if key in known else _as_stored(storage, f"{prefix}/{key}")
    facts = {"files": files, "versions": versions(), "created": datetime.now(UTC), "checksum": ""}
    record = record.model_copy(update=facts)
    checksum = _checksum(record.model_dump_json().encode("utf-8"))
    record = record.model_copy(update={"checksum": checksum})
    storage.write_text(f"{prefix}/{RECORD}", record.model_dump_json(indent=1))
    return record


def fetch(storage: Storage, prefix: str, folder: Path, only: Sequence[str] | None = None) -> Record:
    """Download an artifact's files (all, or `only` these) into `folder`, each checked against its record.

    Raises ArtifactError naming the first that is missing, truncated or damaged, of which nothing stays in `folder`;
    MachineError where the disk is full.
    """
    record = _existing(storage, prefix)
    for key in only if only is not None else record.files:
        _download(storage, prefix, key, folder / key, record.files)
    return record


@contextmanager
def verified(
    storage: Storage,
    prefix: str,
    key: str,
    files: Mapping[str, StoredFile] | None = None,
    *,
    scratch: Path | None = None,
) -> Iterator[Path]:
    """A local file of what is stored under `key` of an artifact, checked before it is read.

    Against `files`, of its record by default.

    On this machine's file system it is the stored file itself, elsewhere a copy in the folder `scratch` (by default
    where temporary files go) that is gone afterwards. Errors as of `fetch`.
    """
    files = _existing(storage, prefix).files if files is None else files
    if storage.local is not None:
        path = storage.local / prefix / key
        _check(storage, prefix, key, path, files)
        yield path
        return
    with TemporaryDirectory(prefix="orch-verified-", dir=scratch) as folder:
        path = Path(folder) / PurePosixPath(key).name
        _download(storage, prefix, key, path, files)
        yield path


def _existing(storage: Storage, prefix: str) -> Record:
    record = read_record(storage, prefix)
    if record is None:
        raise ArtifactError(f"{storage.url(prefix)}: no record, so there is no such artifact; make it again")
    return record


def _download(storage: Storage, prefix: str, key: str, target: Path, files: Mapping[str, StoredFile]) -> None:
    """What a network damaged comes whole the second time; what is damaged in the store does not."""
    for last in (storage.local is not None, True):
        try:
            with disk.writing(target.parent, storage.url(f"{prefix}/{key}")):
                storage.download(f"{prefix}/{key}", target)
        except StorageError as error:
            if not _absent(error):
                raise
            raise ArtifactError(_with_way_out(storage, prefix, key, "there is no such object")) from error
        try:
            _check(storage, prefix, key, target, files)
            return
        except ArtifactError:
            target.unlink(missing_ok=True)
            if last:
                raise


def _absent(error: StorageError) -> bool:
    return isinstance(error.__cause__, FileNotFoundError)


def _check(storage: Storage, prefix: str, key: str, path: Path, files: Mapping[str, StoredFile]) -> None:
    """ArtifactError where the file is not what the record says."""
    expected = files.get(key)
    if expected is None:
        fault: str | None = "its record knows no such file"
    elif not path.is_file():
        fault = "there is no such object"
    else:
        fault = expected.fault(path)
    if fault is not None:
        raise ArtifactError(_with_way_out(storage, prefix, key, fault))


def _with_way_out(storage: Storage, prefix: str, key: str, fault: str) -> str:
    """Without its record an artifact is made again, and overwrites what is left of it."""
    record, named = storage.url(f"{prefix}/{RECORD}"), storage.url(f"{prefix}/{key}")
    what = "it" if key == RECORD else f"it and {record}"
    return f"{named}: {fault}; remove {what} and run the same command again, which makes it anew"


def _as_stored(storage: Storage, key: str) -> StoredFile:
    digest, size = hashlib.sha256(), 0
    with storage.open(key) as handle:
        while piece := handle.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return StoredFile(size=size, sha256=digest.hexdigest())


def _checksum(record: bytes) -> str:
    """Of a record's JSON without its own checksum, however it is laid out."""
    content = json.loads(record)
    content["checksum"] = ""
    return hashlib.sha256(canonical_json(content).encode("utf-8")).hexdigest()
