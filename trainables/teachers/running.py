"""Running teachers over utterances without gradients: logits, pooled vectors, sequences, attention maps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from trainables.teachers.data import Source, length_batches, prefetched
from trainables.teachers.heads import TeacherOutput
from trainables.teachers.store import TeacherModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

INFERENCE_BATCH = 32
COARSE = 5
"""wav2vec frames of 20 ms averaged into one for the fusion teacher: 10 a second bound its memory."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bfloat16 on a GPU that has it where the precision is `auto`; nothing elsewhere."""
    enabled = precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def run(
    model: TeacherModel,
    source: Source,
    device: str | torch.device,
    *,
    rows: NDArray[np.int64] | None = None,
    batch_size: int = INFERENCE_BATCH,
    attention: bool = False,
) -> Iterator[tuple[NDArray[np.int64], TeacherOutput]]:
    """Batches by length as (rows, output), in eval mode; every row (or those of `rows`) once."""
    device = torch.device(device)
    chosen = np.arange(len(source.lengths)) if rows is None else rows
    batches = [chosen[b] for b in length_batches(source.lengths[chosen], batch_size)]
    was_training = model.training
    model.eval()
    for batch, inputs in prefetched(source.collate, batches):
        with torch.no_grad(), autocast(device, "auto"):
            output = model(inputs.to(device), attention=attention)
        yield batch, output
    model.train(was_training)


def latency_ms(model: TeacherModel, source: Source, runs: int = 20, seconds: float = 5.0) -> float:
    """Median milliseconds of one utterance at batch 1 on one CPU thread, its inputs at hand.

    Over up to `runs` rows spread over the source, after one to warm up; big models stop after `seconds`.
    """
    device, threads, was_training = next(model.parameters()).device, torch.get_num_threads(), model.training
    rows = np.linspace(0, len(source.lengths) - 1, runs + 1).round().astype(np.int64)
    torch.set_num_threads(1)
    model.cpu().eval()
    began, taken = time.perf_counter(), []
    with torch.inference_mode():
        for row in rows:
            inputs = source.collate(np.array([row]))
            start = time.perf_counter()
            model(inputs)
            taken.append(1e3 * (time.perf_counter() - start))
            if time.perf_counter() - began > seconds:
                break
    torch.set_num_threads(threads)
    model.to(device).train(was_training)
    return float(np.median(taken[1:] or taken))


def sequences(model: TeacherModel, source: Source, device: str | torch.device) -> list[Tensor]:
    """The valid frames of every utterance, [T_i, D] float16 on the CPU."""
    found: list[Tensor] = [torch.empty(0)] * len(source.lengths)
    for rows, output in run(model, source, device):
        for row, frames, mask in zip(rows, output.frames.half().cpu(), output.mask.cpu(), strict=True):
            found[row] = frames[mask].clone()
    return found


def coarsened(frames: Tensor, seconds: float) -> Tensor:
    """[T, D] averaged in time to at most about ten frames a second; never empty."""
    most = max(1, round(seconds * 50 / COARSE))
    if len(frames) <= most:
        return frames
    return torch.nn.functional.adaptive_avg_pool1d(frames.float().T[None], most)[0].T.to(frames.dtype)


def coarse_sequences(sequences_: Sequence[Tensor], samples: NDArray[np.float64]) -> list[Tensor]:
    return [coarsened(s, float(n) / 16_000) for s, n in zip(sequences_, samples, strict=True)]
