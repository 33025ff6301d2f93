"""A small inverted student, S4's method and a step of it, in float32 or float64."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from tests.helpers.batches import with_values
from trainables.batching import Batch, Batcher, TeacherBatch
from trainables.method import Setting, Step
from trainables.methods.meta_knowledge import MetaKnowledgeMethod
from trainables.spec import RunSpec
from trainables.spec.demands import needs_of, teachers_needed
from trainables.students import Student, build_student
from trainables.transfer_set import TransferSet


def meta_run(training: dict[str, Any] | None = None, seed: int = 0, **method: Any) -> RunSpec:
    """Two blocks of width 16 that hear eight bands, and the method `meta_knowledge` set so."""
    content = {
        "student": {
            "type": "inverted_transformer",
            "width": 16,
            "heads": 2,
            "layers": 2,
            "length": 12,
            "normalisation": "none",
        },
        "teachers": {"text": None, "fusion": None},
        "features": {"mel_bands": 8, "attention_grid": 4},
        "training": {"epochs": 3, "batch_size": 16, "patience": 0} | (training or {}),
        "method": {"type": "meta_knowledge"} | method,
        "seed": seed,
    }
    return RunSpec.model_validate(content)


class Case:
    """A method with a student, a train batch and a held-out batch of twelve rows each."""

    def __init__(self, data: TransferSet, dtype: torch.dtype = torch.float32, **method: Any) -> None:
        self.run = meta_run(**method)
        self.student: Student = build_student(self.run.student, data, 0).to(dtype).train()
        torch.manual_seed(0)
        self.method = MetaKnowledgeMethod(
            Setting(self.run, data, data.rows("train", ("audio",)), self.student.widths)
        )
        self.method.heads.to(dtype)
        batcher = Batcher(data, self.student.spec, needs_of(self.run), teachers_needed(self.run))
        rows = data.rows("train", ("audio",))
        self.batch, self.quiz = (_cast(batcher.batch(chosen), dtype) for chosen in (rows[:12], rows[12:24]))

    def step(self, rate: float = 0.5, progress: float = 0.5) -> Step:
        return Step(self.student, self.batch, progress, rate, lambda: self.quiz)

    def loss(self, progress: float = 0.5) -> Tensor:
        terms = self.method.loss(self.student(self.batch), self.batch, progress)
        return torch.stack(list(terms.values())).sum()


def _cast(batch: Batch, dtype: torch.dtype) -> Batch:
    """The batch with its floating point in `dtype`."""

    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

    teachers = {
        name: TeacherBatch(**{f.name: cast(getattr(one, f.name)) for f in fields(one)})
        for name, one in batch.teachers.items()
    }
    whole = with_values(batch, "audio", cast(batch.streams["audio"].values))
    return replace(whole, weights=cast(batch.weights), teachers=teachers)
