"""Small specs of every student, and batches that they and any term can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from trainables.batching import Batch, Batcher
from trainables.method import Setting
from trainables.spec import RunSpec
from trainables.spec.demands import needs_of, teachers_needed
from trainables.students import StudentOutput, build_student
from trainables.terms import TERMS
from trainables.terms.base import TermLoss
from trainables.transfer_set import TransferSet

SMALL: dict[str, dict[str, Any]] = {
    "audio_text_transformer": {"width": 16, "heads": 2, "cross_layers": 1, "self_layers": 1, "token_width": 8},
    "cross_modal_transformer": {
        "modalities": ("audio", "text"),
        "width": 16,
        "heads": 2,
        "cross_layers": 1,
        "self_layers": 1,
        "token_width": 8,
        "image_filters": 4,
    },
    "cnn_lstm": {"frames": 16, "blocks": 3, "filters": 3, "token_width": 8, "lstm_width": 12},
    "inverted_transformer": {"width": 16, "heads": 2, "layers": 1, "length": 20},
    "multi_level_fusion": {"width": 8, "heads": 2},
}
"""By type."""


def run_of(student: dict[str, Any], method: dict[str, Any], **parts: Any) -> RunSpec:
    """`student` with its type; what it does not give is small."""
    training = {"epochs": 3, "batch_size": 16, "patience": 0} | parts.pop("training", {})
    features = {"mel_bands": 8, "attention_grid": 4}
    whole = {"type": "audio_text_transformer"} | student
    parts = {"corpus": {"type": "standin"}, **parts}
    content = {"student": SMALL[whole["type"]] | whole, "method": method, "training": training}
    return RunSpec.model_validate({**content, "features": features, **parts})


@dataclass
class TermCase:
    """One term, `method.terms.<name>`, on a student and its first train rows."""

    name: str
    run: RunSpec
    data: TransferSet
    rows: int = 24

    def __post_init__(self) -> None:
        self.student = build_student(self.run.student, self.data, 0)
        train = self.data.rows("train", self.run.student.modalities)
        self.setting = Setting(self.run, self.data, train, self.student.widths)
        spec = getattr(getattr(self.run.method, "terms"), self.name)  # noqa: B009
        self.term: TermLoss = TERMS[self.name](spec, self.setting)
        self.spec: Any = spec
        batcher = Batcher(self.data, self.student.spec, needs_of(self.run), teachers_needed(self.run))
        self.batch: Batch = batcher.batch(train[: self.rows].astype(np.int64))

    def output(self) -> StudentOutput:
        out: StudentOutput = self.student(self.batch, 4)
        return out

    def value(self, output: StudentOutput, progress: float = 0.5) -> Tensor:
        out: Tensor = self.term(output, self.batch, progress)
        return out


def term_case(
    name: str, data: TransferSet, student: dict[str, Any] | None = None, rows: int = 24, **term: Any
) -> TermCase:
    method = {"type": "distil", "terms": {name: {"enabled": True, **term}}}
    return TermCase(name, run_of(student or {}, method), data, rows)
