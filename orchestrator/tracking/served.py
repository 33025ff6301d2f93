"""The confirmed student as MLflow loads it: this file is copied into the model ("models from code"), no pickle.

Input: one row an utterance, of what the student reads, as the transfer set holds it: `frames` (list of T lists of
mel values, normalised with the train split's mean and deviation), `tokens` (list of ids of the student's own
vocabulary), `images` (list of T square grey pictures of 0 to 255), `<modality>_vectors` (list of T vectors,
normalised so, too). A column that is not there, or is null in a row, is a modality that is missing. Of a student
that reads its teachers' sequences `audio_frames` and/or `text_frames` (lists of T lists) and, by granularity,
`phone_segments` and so on (lists of [first frame, frame after the last], possibly empty).
Output: one column of probabilities a label, that sum to 1 unless an utterance may have several.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd  # type: ignore[import-untyped]
from mlflow.pyfunc import PythonModel

_ROWS = 64
"""Utterances padded together."""


class ServedStudent(PythonModel):  # type: ignore[misc]
    def load_context(self, context: Any) -> None:
        from trainables.evaluation import load_exported

        self.student, self.facts = load_exported(Path(context.artifacts["student"]))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        import torch

        parts = [self._logits(model_input.iloc[i : i + _ROWS]) for i in range(0, len(model_input), _ROWS)]
        logits = torch.cat(parts) if parts else torch.zeros(0, len(self.facts["labels"]))
        several = self.facts["multi_label"]
        probabilities = (logits.double().sigmoid() if several else logits.double().softmax(dim=1)).numpy()
        return pd.DataFrame(probabilities, columns=self.facts["labels"], index=model_input.index)

    def _logits(self, rows: pd.DataFrame) -> Any:
        import torch

        from trainables.batching import Batch, SegmentBatch, TeacherBatch
        from trainables.spec.base import in_order

        zeros = torch.zeros(len(rows), dtype=torch.int64)
        spec = self.student.spec
        streams = {m: self._stream(rows, m) for m in in_order(spec.modalities) if spec.reads_features}
        teachers: dict[str, TeacherBatch] = {}
        for name in spec.modalities if spec.needs.frames else ():
            sequence, valid = _pad(rows[f"{name}_frames"], torch.float32, 0.0)
            teachers[name] = TeacherBatch(torch.empty(0), torch.empty(0), frames=sequence, frame_mask=valid)
        segments: dict[str, SegmentBatch] = {
            g: SegmentBatch(*_pad(rows[f"{g}_segments"], torch.int64, 0, (2,))) for g in spec.needs.segments
        }
        with torch.inference_mode():
            batch = Batch(
                index=zeros,
                labels=zeros,
                text_hash=zeros,
                weights=torch.ones(len(rows)),
                streams=streams,
                teachers=teachers,
                segments=segments,
            )
            return self.student(batch).logits

    def _stream(self, rows: pd.DataFrame, modality: str) -> Any:
        import torch

        from trainables.batching import StreamBatch
        from trainables.transfer_set import step_shape

        kind, width = self.facts["sizes"]["streams"][modality]
        column = {"log_mel": "frames", "tokens": "tokens", "images": "images", "vectors": f"{modality}_vectors"}[
            kind
        ]
        dtype = {"tokens": torch.int64, "images": torch.uint8}.get(kind, torch.float32)
        padding = self.facts["pad_id"] if kind == "tokens" else 0.0
        given = list(rows[column]) if column in rows else [None] * len(rows)
        nothing = torch.full((1, *step_shape(kind, width)), padding, dtype=dtype).numpy()
        values, mask = _pad([nothing if row is None else row for row in given], dtype, padding)
        return StreamBatch(values, mask, torch.tensor([row is not None for row in given]))


def _pad(column: Any, dtype: Any, padding: float, step: tuple[int, ...] = ()) -> tuple[Any, Any]:
    """([B, T, ...], [B, T] bool mask) of sequences of differing length; `step`: shape of one step."""
    import numpy as np
    import torch

    rows = [torch.as_tensor(np.array([np.asarray(x) for x in row])).to(dtype) for row in column]
    rows = [row if len(row) else row.new_zeros((0, *step)) for row in rows]
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]


mlflow.models.set_model(ServedStudent())
