"""What one fine-tuning works on: a model, its train and dev utterances, its class labels."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainables.spec.base import Modality, TeacherName
from trainables.spec.run import RunSpec
from trainables.spec.teachers import EncoderTeacher, FineTuning, FusionTeacher, VisualTeacher
from trainables.storage import Storage
from trainables.teachers.data import AudioSource, FeatureSource, ImageSource, Source, TextSource
from trainables.teachers.encoders import LoadedEncoder, make_encoder
from trainables.teachers.frozen import frame_seconds, frozen_source
from trainables.teachers.fusion import make_fusion
from trainables.teachers.heads import EncoderModel
from trainables.teachers.identity import TeacherReads
from trainables.teachers.running import sequences
from trainables.teachers.store import FineTuned, TeacherModel, fetch_teacher
from trainables.teachers.utterances import Utterances, corpus_record, read_utterances

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Task:
    name: TeacherName
    model: TeacherModel
    spec: EncoderTeacher | FusionTeacher
    labels: tuple[str, ...]
    train: Source
    train_labels: NDArray[Any]
    """As in `Utterances`."""
    dev: Source
    dev_labels: NDArray[Any]

    @property
    def training(self) -> FineTuning:
        return self.spec.training


def source_of(encoder: LoadedEncoder, rows: Utterances, silence_seconds: float) -> Source:
    """The utterances as the encoder reads them."""
    if encoder.wave is not None:
        return AudioSource(rows.audio, encoder.wave, silence_seconds)
    if encoder.picture is not None:
        return ImageSource(rows.images, encoder.picture)
    return TextSource(rows.texts, encoder)


def make_task(
    name: TeacherName, run: RunSpec, storage: Storage, reads: TeacherReads, device: str | torch.device
) -> Task:
    labels = tuple(corpus_record(storage, reads.corpus).info["labels"])
    spec: EncoderTeacher | FusionTeacher = getattr(run.teachers, name)
    alone = run.teachers.alone
    reads_of: Sequence[str] = (name,) if isinstance(spec, EncoderTeacher) else alone
    rows = read_utterances(
        storage,
        reads.corpus,
        labels,
        reads_of,
        run.fold,
        segments=() if isinstance(spec, EncoderTeacher) else spec.segments,
        multi_label=run.corpus.multi_label,
        frames=run.teachers.visual.frames if run.teachers.visual else 0,
    )
    if isinstance(spec, EncoderTeacher):
        model, sources = _encoder(name, run, spec, rows, len(labels))
    else:
        model, sources = _fusion(run, spec, _frozen(storage, reads, alone, device), rows, len(labels))
    return Task(
        name, model, spec, labels, sources["train"], rows["train"].labels, sources["dev"], rows["dev"].labels
    )


def _encoder(
    name: TeacherName, run: RunSpec, spec: EncoderTeacher, rows: dict[str, Utterances], classes: int
) -> tuple[TeacherModel, dict[str, Source]]:
    frames = {"frames": spec.frames} if isinstance(spec, VisualTeacher) else {}
    loaded = make_encoder(name, spec.encoder, rows["train"].texts, spec.training.seed, **frames)
    torch.manual_seed(spec.training.seed)
    model = EncoderModel(loaded, classes, spec.dropout, spec.layer_weighting)
    silence = run.corpus.min_seconds
    return model, {s: source_of(loaded, u, silence) for s, u in rows.items()}


def _frozen(
    storage: Storage, reads: TeacherReads, alone: Sequence[Modality], device: str | torch.device
) -> dict[Modality, FineTuned]:
    with tempfile.TemporaryDirectory(prefix="orch-teachers-") as folder:
        return {m: fetch_teacher(storage, reads.teachers[m], Path(folder), device) for m in alone}


def _fusion(
    run: RunSpec,
    spec: FusionTeacher,
    teachers: Mapping[Modality, FineTuned],
    rows: dict[str, Utterances],
    classes: int,
) -> tuple[TeacherModel, dict[str, Source]]:
    """Every worker runs the frozen teachers once over all rows: cheaper than their passes every epoch."""
    torch.manual_seed(spec.training.seed)
    widths = {m: teacher.encoder.width for m, teacher in teachers.items()}
    model = make_fusion(spec, widths, classes=classes, multi_label=run.corpus.multi_label)
    silence = run.corpus.min_seconds
    return model, {s: _fusion_source(spec, teachers, u, silence) for s, u in rows.items()}


def _fusion_source(
    spec: FusionTeacher, teachers: Mapping[Modality, FineTuned], rows: Utterances, silence_seconds: float
) -> FeatureSource:
    sources = {m: source_of(t.encoder.loaded, rows, silence_seconds) for m, t in teachers.items()}
    found = {m: sequences(t.model, sources[m], t.device) for m, t in teachers.items()}
    return frozen_source(
        spec,
        found,
        samples=sources["audio"].lengths if "audio" in sources else None,
        segments=rows.segments,
        seconds=frame_seconds(teachers["audio"].encoder) if "audio" in teachers else 0.0,
    )
