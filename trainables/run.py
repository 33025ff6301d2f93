"""The one builder: a RunSpec and its transfer set in, a trained student out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from trainables.batching import Batcher
from trainables.determinism import derive, reproducible
from trainables.errors import SpecError
from trainables.loop import Circumstance, Loop, TrainResult
from trainables.method import Setting
from trainables.methods import METHODS
from trainables.reporter import Reporter
from trainables.spec.demands import needs_of, teachers_needed
from trainables.spec.metrics import metrics_of
from trainables.spec.run import RunSpec
from trainables.students import Sizes, Student, build_student, make_student
from trainables.transfer_set import TransferSet
from trainables.world import World

__all__ = ["TrainResult", "load_student", "train"]


def train(
    run: RunSpec,
    data: TransferSet,
    reporter: Reporter,
    *,
    device: str = "cpu",
    threads: int | None = None,
    scratch: Path | None = None,
    checkpoint_every_seconds: float = 60.0,
) -> TrainResult:
    """Train `run` on `data`; on the CPU the result is the same to the bit for the same number of `threads`.

    Where `torch.distributed` is initialised the global batch is split over its ranks: rank 0 scores and saves,
    every rank calls `reporter.report` with the same metrics, and `reporter.restore` must fill every rank's folder
    alike. `threads`: of torch, one a CPU granted; None leaves its number. `scratch`: where checkpoints are
    written before they are handed to the reporter. A checkpoint is saved at the first epoch's end after
    `checkpoint_every_seconds`, and when the reporter stops the run.

    Raises DivergedError (a loss or a score that is not finite), ArtifactError (the transfer set lacks what the
    run needs, or the checkpoint is of another run), SpecError (unknown metric, several workers for one).
    """
    metrics = metrics_of(data.multi_label)
    if run.metric not in metrics:
        raise SpecError(f"metric {run.metric!r}: no such metric; there are {', '.join(metrics)}")
    if run.method.single_worker and World.current().size > 1:
        raise SpecError(
            f"method {run.method.type} must see its whole batch in one process; train it with one worker"
        )
    with reproducible(threads, device):
        student = build_student(run.student, data, derive(run.seed, "student")).to(device)
        # The batcher first: it says what the transfer set lacks, where a method would only stumble over it.
        batcher = Batcher(data, student.spec, needs_of(run), teachers_needed(run), device)
        torch.manual_seed(derive(run.seed, "heads"))
        setting = Setting(run, data, data.rows("train", student.modalities), student.widths)
        method = METHODS[run.method.type](setting)
        method.heads.to(device)
        where = Circumstance(device, scratch, checkpoint_every_seconds)
        return Loop(run, data, student, method, batcher, reporter=reporter, where=where).fit()


def load_student(run: RunSpec, data: TransferSet, state: Mapping[str, Tensor]) -> Student:
    """The student of `run` with the weights `state`, in evaluation mode, on the CPU."""
    with torch.random.fork_rng(devices=[]):
        student = make_student(run.student, Sizes.of(data))
    student.load_state_dict(dict(state))
    return student.eval()
