"""Which teacher is which: fingerprints of teachers and transfer sets, without loading torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainables.artifacts import Record, fingerprint, publish
from trainables.pretrained import checkpoint_identity
from trainables.spec.base import MODALITIES, TeacherName
from trainables.spec.needs import Needs
from trainables.spec.run import RunSpec
from trainables.spec.teachers import EncoderTeacher, Pretrained
from trainables.storage import Storage

TEACHER_SCHEMA = 3
TRANSFER_SCHEMA = 3


@dataclass(frozen=True)
class TeacherReads:
    """The fingerprints that a teacher is made from; `teachers` holds all that the fusion teacher reads."""

    corpus: str
    teachers: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: TeacherName) -> dict[str, str]:
        inputs = MODALITIES if name == "fusion" else ()
        return {"corpus": self.corpus, **{str(m): self.teachers[m] for m in inputs if m in self.teachers}}


def prefix(fingerprint_: str) -> str:
    return f"teachers/{fingerprint_}"


def teacher_fingerprint(name: TeacherName, run: RunSpec, corpus: str, others: Mapping[str, str]) -> str:
    """The identity of a fine-tuned teacher; `others` are those of the teachers of one modality."""
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


def transfer_fingerprint(run: RunSpec, teachers: Mapping[str, str], needs: Needs, corpus: str) -> str:
    """The identity of a transfer set. Logits and pooled vectors are always there; the rest as needed.

    `corpus` is a fingerprint: it knows what was kept of the pictures, and is there where no teacher is.
    """
    content = {
        "features": run.features.model_dump(mode="json"),
        "modalities": list(run.corpus.modalities),
        "fold": run.fold,
        "attention": needs.attention,
        "frames": needs.frames,
        "segments": list(needs.segments),
    }
    reads = {"corpus": corpus, **{str(k): v for k, v in teachers.items()}}
    return fingerprint("transfer_set", TRANSFER_SCHEMA, content, reads)


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
