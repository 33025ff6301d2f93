"""What one fine-tuning works on: a model, its train and dev utterances, its class labels."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from trainables.spec.base import TeacherName
from trainables.spec.run import RunSpec
from trainables.spec.teachers import EncoderTeacher, FineTuning, FusionTeacher
from trainables.storage import Storage
from trainables.teachers.data import AudioSource, FeatureSource, Source, TextSource
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
    train_labels: NDArray[np.int64]
    dev: Source
    dev_labels: NDArray[np.int64]

    @property
    def training(self) -> FineTuning:
        return self.spec.training


def source_of(encoder: LoadedEncoder, texts: Sequence[str], audio: object, silence_seconds: float) -> Source:
    """The utterances as the encoder reads them; `audio` is a column of FLAC bytes or None."""
    if encoder.wave is not None:
        return AudioSource(audio, encoder.wave, silence_seconds)  # type: ignore[arg-type]
    return TextSource(texts, encoder)


def make_task(
    name: TeacherName, run: RunSpec, storage: Storage, reads: TeacherReads, device: str | torch.device
) -> Task:
    labels = tuple(corpus_record(storage, reads.corpus).info["labels"])
    spec: EncoderTeacher | FusionTeacher = getattr(run.teachers, name)
    segments = () if isinstance(spec, EncoderTeacher) else spec.segments
    rows = read_utterances(storage, reads.corpus, labels, name != "text", run.fold, segments=segments)
    if isinstance(spec, EncoderTeacher):
        model, sources = _encoder(name, run, spec, rows, len(labels))
    else:
        frozen = _frozen(storage, reads, device)
        model, sources = _fusion(spec, frozen, rows, len(labels), run.corpus.min_seconds)
    return Task(
        name, model, spec, labels, sources["train"], rows["train"].labels, sources["dev"], rows["dev"].labels
    )


def _encoder(
    name: TeacherName, run: RunSpec, spec: EncoderTeacher, rows: dict[str, Utterances], classes: int
) -> tuple[TeacherModel, dict[str, Source]]:
    loaded = make_encoder(name, spec.encoder, rows["train"].texts, spec.training.seed)
    torch.manual_seed(spec.training.seed)
    model = EncoderModel(loaded, classes, spec.dropout, spec.layer_weighting)
    silence = run.corpus.min_seconds
    return model, {s: source_of(loaded, u.texts, u.audio, silence) for s, u in rows.items()}


def _frozen(storage: Storage, reads: TeacherReads, device: str | torch.device) -> list[FineTuned]:
    with tempfile.TemporaryDirectory(prefix="orch-teachers-") as folder:
        return [fetch_teacher(storage, reads.teachers[t], Path(folder), device) for t in ("audio", "text")]


def _fusion(
    spec: FusionTeacher,
    teachers: Sequence[FineTuned],
    rows: dict[str, Utterances],
    classes: int,
    silence_seconds: float,
) -> tuple[TeacherModel, dict[str, Source]]:
    """Every worker runs the two frozen teachers once over all rows: cheaper than their passes every epoch."""
    torch.manual_seed(spec.training.seed)
    model = make_fusion(spec, teachers[0].encoder.width, teachers[1].encoder.width, classes=classes)
    return model, {s: _fusion_source(spec, teachers, u, silence_seconds) for s, u in rows.items()}


def _fusion_source(
    spec: FusionTeacher, teachers: Sequence[FineTuned], rows: Utterances, silence_seconds: float
) -> FeatureSource:
    audio, text = (source_of(t.encoder.loaded, rows.texts, rows.audio, silence_seconds) for t in teachers)
    frames, words = (sequences(t.model, s, t.device) for t, s in zip(teachers, (audio, text), strict=True))
    seconds = frame_seconds(teachers[0].encoder)
    return frozen_source(spec, frames, words, samples=audio.lengths, segments=rows.segments, seconds=seconds)
