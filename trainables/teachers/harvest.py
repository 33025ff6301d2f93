"""Running the fine-tuned teachers once over the corpus, shard by shard, into the transfer set.

Nothing is fitted here on dev or test: the vocabulary and the normalisation of the frames come from train.
Frames and vectors are stored as they are; each shard's file carries its sums over train rows, from which `finish`
works out the mean and deviation, so that no pass over the data is needed for them.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trainables.corpus import read_shard, train_texts, with_fold
from trainables.features import Vocabulary, build_vocabulary, log_mel, pieces_of
from trainables.losses.attention import resize_map
from trainables.spec.base import OVER_TIME, Modality, TeacherName
from trainables.teachers.data import FeatureSource, Source, decode
from trainables.teachers.frozen import frame_seconds, frozen_source, spans_of
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.running import run
from trainables.teachers.shards import SUMS
from trainables.teachers.store import FineTuned, fetch_teacher
from trainables.teachers.task import source_of
from trainables.teachers.utterances import corpus_record, label_numbers, labels_of, utterances_of
from trainables.transfer_set import (
    HALF_MAX,
    NORMALISED,
    STREAM_TYPES,
    StreamKind,
    list_column,
    shard_name,
    stream_column,
)

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN = ("uid", "split", "dialogue", "speaker", "text_hash", "seconds")


class Harvester:
    """The teachers of a plan, loaded once; an actor keeps one and gives it shard after shard."""

    def __init__(self, plan: HarvestPlan, device: str | torch.device = "cpu") -> None:
        self.plan, self.device = plan, device
        corpus = corpus_record(plan.storage, plan.corpus)
        self.labels, self.multi_label = tuple(corpus.info["labels"]), bool(corpus.info["multi_label"])
        self.widths: dict[str, int] = corpus.info["widths"]
        with tempfile.TemporaryDirectory(prefix="orch-teachers-") as folder:
            self.teachers = {
                name: fetch_teacher(
                    plan.storage, plan.teachers[name], Path(folder), device, attention=plan.needs.attention
                )
                for name in plan.run.teachers.names
            }
        self.vocabulary = vocabulary_of(plan, self.teachers.get("text"))

    def shard(self, index: int) -> str:
        """Run every teacher over shard `index`, store the result, return its key."""
        import pyarrow.parquet as pq

        table = with_fold(read_shard(self.plan.storage, self.plan.corpus, index), self.plan.run.fold)
        rows, sums = self._rows(table)
        metadata = {SUMS: json.dumps(sums).encode("utf-8")}
        with tempfile.TemporaryDirectory(prefix="orch-harvest-") as folder:
            local = Path(folder) / shard_name(index)
            pq.write_table(rows.replace_schema_metadata(metadata), local, compression="zstd")
            return self.plan.store(index, local)

    def _rows(self, table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
        import pyarrow as pa

        columns: dict[str, Any] = {name: table[name] for name in _PLAIN}
        columns["label"] = pa.array(self._numbers(table))
        if self.multi_label:
            columns["targets"] = list_column(list(labels_of(table, self.labels, True)), np.float32)
        if self.plan.run.corpus.rated:
            columns["votes"] = list_column(votes_of(table["votes"].to_pylist(), len(self.labels)), np.float32)
        sums: dict[str, Any] = {"lengths": {}, "moments": {}}
        train = np.asarray(table["split"].to_pylist()) == "train"
        for modality, stream in self.streams(table).items():
            columns[f"has_{modality}"] = pa.array(stream.there)
            if stream.kind in NORMALISED:
                used = stream.there & train
                sums["moments"][modality] = moments([r for r, use in zip(stream.rows, used, strict=True) if use])
            _sequence(columns, sums, stream_column(modality), stream.rows, stream.stored)
        self._teach(table, columns, sums)
        return pa.table(columns), sums

    def streams(self, table: pa.Table, only: Modality | None = None) -> dict[Modality, StudentRows]:
        """What a student may read of these rows (of one modality alone: `only`), in the order of MODALITIES."""
        kinds = self.plan.kinds.items()
        return {m: self._stream(m, kind, table) for m, kind in kinds if only in (None, m)}

    def _stream(self, modality: Modality, kind: StreamKind, table: pa.Table) -> StudentRows:
        if kind == "vectors":
            return vector_rows(table[f"{modality}_vectors"], self.widths[modality])
        if kind == "log_mel":
            return StudentRows(kind, self._frames(table["audio"]), _valid(table["audio"]))
        if kind == "images":
            return picture_rows(table["images"], self.plan.run.features.image_size)
        return StudentRows(kind, self.tokens(table["text"].to_pylist()), _every(table))

    def _frames(self, clips: Any) -> list[np.ndarray[Any, Any]]:
        """Log-mel frames [T, mel] of every clip; of silence where there is none."""
        silence, spec = self.plan.run.corpus.min_seconds, self.plan.run.features
        return [log_mel(decode(clip.as_py(), silence), spec).numpy() for clip in clips]

    def tokens(self, texts: list[str]) -> list[np.ndarray[Any, Any]]:
        """The student's pieces of each text."""
        assert self.vocabulary is not None
        pieces = pieces_of(self.teachers["text"].encoder.loaded.tokenizer, texts)
        return [self.vocabulary.encode(p, self.plan.run.features.max_tokens) for p in pieces]

    def _numbers(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """Class numbers; -1 where a row may have several labels."""
        if self.multi_label:
            return np.full(len(table), -1, dtype=np.int64)
        return label_numbers(table["label"].to_pylist(), self.labels)

    def _teach(self, table: pa.Table, columns: Any, sums: Any) -> None:
        """Every teacher's columns; the fusion teacher reads the sequences of those before it."""
        sequences: dict[TeacherName, list[Tensor]] = {}
        sources: dict[TeacherName, Source] = {}
        keep = "fusion" in self.teachers or self.plan.needs.frames or bool(self.plan.needs.segments)
        for name, teacher in self.teachers.items():
            if name == "fusion":
                sources[name] = self._frozen(table, sequences, sources)
            else:
                sources[name] = self.source(teacher, table)
            found = self.outputs(teacher, sources[name], keep)
            sequences[name] = found.pop("frames")
            if name == "audio" and "attention" in found:
                found["attention"][~_valid(table["audio"])] = 0  # silence has nothing to transfer
            for part, values in found.items():
                dtype = np.float32 if part == "logits" else np.float16
                columns[f"{name}.{part}"] = list_column(list(values), dtype)
            if name == "audio":
                self._segments(table, sequences[name], columns, sums)
            if self.plan.needs.frames and name != "fusion":
                whole = [s.numpy() for s in sequences[name]]
                _sequence(columns, sums, f"{name}.frames", whole, np.float16)

    def source(self, teacher: FineTuned, table: pa.Table) -> Source:
        """The rows as a teacher of one modality reads them."""
        rows = utterances_of(table, np.zeros(len(table)))
        return source_of(teacher.encoder.loaded, rows, self.plan.run.corpus.min_seconds)

    def _frozen(
        self, table: pa.Table, sequences: dict[TeacherName, list[Tensor]], sources: dict[TeacherName, Source]
    ) -> FeatureSource:
        """What the fusion teacher reads."""
        spec, has_audio = self.plan.run.teachers.fusion, "audio" in sources
        assert spec is not None
        return frozen_source(
            spec,
            {m: sequences[m] for m in self.plan.run.teachers.alone},
            samples=sources["audio"].lengths if has_audio else None,
            segments={g: table[f"{g}s"].to_pylist() for g in spec.segments},
            seconds=frame_seconds(self.teachers["audio"].encoder) if has_audio else 0.0,
        )

    def _segments(self, table: pa.Table, frames: list[Tensor], columns: Any, sums: Any) -> None:
        """The spans of each granularity in the audio teacher's frames; none where a row is not aligned."""
        seconds = frame_seconds(self.teachers["audio"].encoder)
        for granularity in self.plan.needs.segments:
            spans = spans_of(table[f"{granularity}s"].to_pylist(), frames, seconds)
            _sequence(columns, sums, f"{granularity}.segments", spans, np.int32)

    def outputs(self, teacher: FineTuned, source: Source, keep_frames: bool) -> dict[str, Any]:
        """`logits` [N, C], `pooled` [N, D], `attention` [N, G, G] if needed, and the list `frames`."""
        count, grid = len(source.lengths), self.plan.run.features.attention_grid
        attention = self.plan.needs.attention and teacher.name in OVER_TIME
        logits = np.zeros((count, len(self.labels)), dtype=np.float32)
        pooled = np.zeros((count, teacher.model.width), dtype=np.float16)
        maps = np.zeros((count, grid, grid), dtype=np.float16)
        frames: list[Tensor] = [torch.empty(0)] * count
        for rows, output in run(teacher.model, source, self.device, attention=attention):
            logits[rows] = output.logits.float().cpu().numpy()
            pooled[rows] = _half(output.pooled).numpy()
            if output.attention is not None:
                maps[rows] = _half(resize_map(output.attention.float(), output.mask, grid)).numpy()
            if keep_frames and teacher.name != "fusion":
                for row, sequence, mask in zip(rows, _half(output.frames), output.mask.cpu(), strict=True):
                    frames[row] = sequence[mask].clone()
        found: dict[str, Any] = {"logits": logits, "pooled": pooled, "frames": frames}
        return {**found, "attention": maps} if attention else found


def harvest_shard(plan: HarvestPlan, index: int, device: str | torch.device = "cpu") -> str:
    """One shard alone, its teachers loaded for it; keep a `Harvester` for several."""
    return Harvester(plan, device).shard(index)


def vocabulary_of(plan: HarvestPlan, text: FineTuned | None) -> Vocabulary | None:
    """The student's word pieces, from the text teacher's tokenizer and the train texts; None without one."""
    if text is None:
        return None
    train = train_texts(plan.storage, plan.corpus, plan.run.fold)
    return build_vocabulary(text.encoder.loaded.tokenizer, train, plan.run.features)


@dataclass(frozen=True)
class StudentRows:
    """One modality of some rows; what is not there has one step of silence, of black or of zeros."""

    kind: StreamKind
    rows: list[np.ndarray[Any, Any]]
    """[T, ...] each, T at least 1."""
    there: np.ndarray[Any, Any]
    """[rows] bool"""

    @property
    def stored(self) -> str:
        """The type of its column: float32 where float16 cannot hold the vectors, which normalised it can."""
        wide = self.kind == "vectors" and any(np.abs(row).max() > HALF_MAX for row in self.rows)
        return "float32" if wide else STREAM_TYPES[self.kind]


def vector_rows(column: Any, width: int) -> StudentRows:
    """Rows of [T, width]."""
    nothing = np.zeros((1, width), dtype=np.float32)
    rows = [row.values.to_numpy().reshape(-1, width) if row.is_valid else nothing for row in column]
    return StudentRows("vectors", rows, _valid(column))


def picture_rows(column: Any, side: int) -> StudentRows:
    """Rows of [T, side, side] grey pictures."""
    from trainables.pictures import grey

    black = np.zeros((1, side, side), dtype=np.uint8)
    rows = [grey(images, side) if (images := row.as_py()) else black for row in column]
    return StudentRows("images", rows, np.asarray([row is not black for row in rows]))


def _valid(column: Any) -> np.ndarray[Any, Any]:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False))


def _every(table: pa.Table) -> np.ndarray[Any, Any]:
    return np.ones(len(table), dtype=bool)


def moments(rows: list[np.ndarray[Any, Any]]) -> dict[str, Any]:
    """Sums over all steps in float64: `sum` and `square` [width], and the `count` of steps."""
    if not rows:
        return {}
    whole = np.concatenate(rows).astype(np.float64)
    return {"sum": whole.sum(0).tolist(), "square": np.square(whole).sum(0).tolist(), "count": len(whole)}


def votes_of(rows: list[Any], classes: int) -> list[np.ndarray[Any, Any]]:
    """[classes] for each row; NaN where nobody was asked."""
    unknown = np.full(classes, np.nan, dtype=np.float32)
    return [unknown if row is None else np.asarray(row, dtype=np.float32) for row in rows]


def _half(values: Tensor) -> Tensor:
    """float16 on the CPU, kept finite."""
    return values.float().clamp(-HALF_MAX, HALF_MAX).half().cpu()


def _sequence(columns: Any, sums: Any, name: str, rows: list[np.ndarray[Any, Any]], dtype: Any) -> None:
    """A column of sequences, and how many steps they have in all."""
    columns[name] = list_column(rows, dtype)
    sums["lengths"][name] = int(sum(len(r) for r in rows))
