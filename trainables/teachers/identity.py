"""Which teacher is which: fingerprints of teachers and transfer sets, without loading torch.

A local checkpoint is known by the content of its files, wherever it lies; one of the hub by its name and the
revision asked for: pin a commit there where the name alone may move.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.artifacts import Record, fingerprint, publish
from trainables.errors import CheckpointError
from trainables.spec.base import TeacherName
from trainables.spec.needs import Needs
from trainables.spec.run import RunSpec
from trainables.spec.teachers import EncoderTeacher, Pretrained
from trainables.storage import Storage, sha256

TEACHER_SCHEMA = 2
TRANSFER_SCHEMA = 2
_CONTENT = (".safetensors", ".json", ".txt", ".model")


@dataclass(frozen=True)
class TeacherReads:
    """The fingerprints that a teacher is made from; `teachers` holds the inputs of the fusion teacher."""

    corpus: str
    teachers: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: TeacherName) -> dict[str, str]:
        inputs = {t: self.teachers[t] for t in ("audio", "text")} if name == "fusion" else {}
        return {"corpus": self.corpus, **inputs}


def prefix(fingerprint_: str) -> str:
    return f"teachers/{fingerprint_}"


def teacher_fingerprint(name: TeacherName, run: RunSpec, corpus: str, others: Mapping[str, str]) -> str:
    """The identity of a fine-tuned teacher; `others` are the fingerprints of the audio and text teacher."""
    spec = getattr(run.teachers, name)
    content: dict[str, Any] = {"name": name, "fold": run.fold, **spec.model_dump(mode="json")}
    if isinstance(spec, EncoderTeacher) and isinstance(spec.encoder, Pretrained):
        content["encoder"] = checkpoint_identity(spec.encoder.checkpoint, spec.encoder.revision)
    return fingerprint("teacher", TEACHER_SCHEMA, content, TeacherReads(corpus, others).of(name))


def teacher_fingerprints(run: RunSpec, corpus: str) -> dict[TeacherName, str]:
    """The identity of every teacher of the run, each after those that it reads."""
    found: dict[TeacherName, str] = {}
    for name in run.teachers.names:
        found[name] = teacher_fingerprint(name, run, corpus, {str(k): v for k, v in found.items()})
    return found


def transfer_fingerprint(run: RunSpec, teachers: Mapping[str, str], needs: Needs) -> str:
    """The identity of a transfer set. Logits and pooled vectors are always there; the rest as needed."""
    content = {
        "features": run.features.model_dump(mode="json"),
        "modalities": list(run.corpus.modalities),
        "fold": run.fold,
        "attention": needs.attention,
        "frames": needs.frames,
        "segments": list(needs.segments),
    }
    return fingerprint("transfer_set", TRANSFER_SCHEMA, content, {str(k): v for k, v in teachers.items()})


def local_folder(checkpoint: str) -> Path | None:
    """The folder that a checkpoint names, or None for a hub name; a path that is no folder is an error."""
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        return folder
    if checkpoint.startswith((".", "/", "~")) or checkpoint.count("/") > 1:
        raise CheckpointError(f"checkpoint {checkpoint!r}: there is no such folder; give a folder or a hub name")
    return None


def checkpoint_identity(checkpoint: str, revision: str | None) -> dict[str, Any]:
    folder = local_folder(checkpoint)
    if folder is None:
        return {"hub": checkpoint, "revision": revision}
    check_safetensors(folder)
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in _CONTENT)
    return {"sha256": {p.name: _digest(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files}}


def check_safetensors(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds a configuration and safetensors."""
    if not (folder / "config.json").exists():
        raise CheckpointError(f"checkpoint {folder}: no config.json in it; give a folder of save_pretrained")
    if any(folder.glob("*.safetensors")):
        return
    convert = f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}-safe')"
    raise CheckpointError(
        f"checkpoint {folder}: no *.safetensors in it, and pickled weights are never loaded; convert it once with "
        f'python -c "from transformers import AutoModel; {convert}", copy the tokenizer files, give the new folder'
    )


@lru_cache(maxsize=256)
def _digest(path: str, size: int, changed: int) -> str:
    """`size` and `changed` (nanoseconds) only key the cache."""
    return sha256(Path(path))


def hub_cache() -> Path:
    """The hub's cache by the hub's own rules: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub."""
    home = os.environ.get("HF_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or str(Path(home) / "hub")).expanduser()


def publish_teacher(
    storage: Storage,
    name: TeacherName,
    run: RunSpec,
    reads: TeacherReads,
    folder: Path,
    *,
    metrics: Mapping[str, Any],
    seconds: float = 0.0,
) -> Record:
    """Make the fine-tuned teacher in `folder` visible as `teachers/<fingerprint>/`.

    `metrics` (what `fine_tune` returned: dev scores, parameters, curves) becomes the record's info.
    """
    identity = teacher_fingerprint(name, run, reads.corpus, reads.teachers)
    record = Record(
        kind="teacher",
        fingerprint=identity,
        spec=getattr(run.teachers, name).model_dump(mode="json"),
        reads=reads.of(name),
        info={"name": name, **metrics},
        created=datetime.now(UTC),
        seconds=seconds,
    )
    return publish(storage, prefix(identity), folder, record)
