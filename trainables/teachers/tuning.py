"""Fine-tuning a teacher: one loop for all, on any number of workers, resumable at every epoch.

The global batch is the unit: its rows depend on (seed, epoch) alone, each worker takes every world-size-th row
of it in pieces of at most `microbatch`, and gradients are sums over rows divided by the weight of the whole
batch. So the step is the same however many workers and pieces it took, up to rounding and dropout's draws.
(Models with group norm, wav2vec 2.0 base, also see the padding of their piece; buckets by length keep it small.)
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables.errors import DivergedError
from trainables.metrics import probabilities_of, scores
from trainables.reporter import Reporter
from trainables.spec.base import TeacherName
from trainables.spec.run import RunSpec
from trainables.spec.teachers import FineTuning
from trainables.storage import Storage
from trainables.teachers import distributed
from trainables.teachers.checkpoint import Progress, copied, load_checkpoint, save_checkpoint
from trainables.teachers.data import epoch_batches, prefetched, split_rows
from trainables.teachers.heads import EncoderModel, TeacherOutput
from trainables.teachers.identity import TeacherReads
from trainables.teachers.objective import Objective
from trainables.teachers.running import autocast, latency_ms, run
from trainables.teachers.store import save_teacher
from trainables.teachers.task import Task, make_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE = "weighted_f1"
_POSITIONS = 256
"""Of five seconds in wav2vec 2.0; eight pictures of 224 have 1568 in ViT-B/16."""


def fine_tune(  # noqa: PLR0917
    name: TeacherName,
    run_spec: RunSpec,
    storage: Storage,
    reads: TeacherReads,
    out: Path,
    reporter: Reporter,
    device: str | torch.device = "cpu",
    microbatch: int | None = None,
) -> dict[str, Any]:
    """Fine-tune the teacher and leave its best epoch (weighted F1 on dev) in `out`, written by rank 0.

    Called alike on every worker of a process group, or without one. Rank 0 saves a checkpoint each epoch;
    every rank restores and reports. Returns, on every rank: labels, dev (all metrics), epochs, best_epoch,
    parameters, latency_ms (batch 1, one CPU thread), width, curves. DivergedError when loss or scores are not
    finite.
    """
    task = make_task(name, run_spec, storage, reads, device)
    loop = TuningLoop(task, device, microbatch)
    loop.train(reporter)
    task.model.load_state_dict(loop.best)
    dev = loop.evaluate()
    if distributed.rank() == 0:
        save_teacher(out, name, task.model, task.spec, task.labels, multi_label=loop.objective.several)
    distributed.barrier()
    return {
        "labels": list(task.labels),
        "dev": dev,
        "epochs": loop.progress.epoch,
        "best_epoch": loop.progress.best_epoch,
        "parameters": sum(p.numel() for p in task.model.parameters()),
        "latency_ms": latency_ms(task.model, task.dev),
        "width": task.model.width,
        "curves": loop.progress.curves,
    }


def rows_at_once(model: nn.Module, microbatch: int | None) -> int | None:
    """`microbatch` rows, or fewer where those of a visual teacher take up more than an utterance's speech does."""
    positions = model.loaded.positions if isinstance(model, EncoderModel) else 0
    if microbatch is None or positions <= _POSITIONS:
        return microbatch
    return max(1, microbatch * _POSITIONS // positions)


def rate_factor(step: int, total: int, warmup: float) -> float:
    """Linear from 0 to 1 over the first `warmup` of all steps, then linear to 0; step counts from 0."""
    rising = max(1, math.ceil(warmup * total))
    if step < rising:
        return (step + 1) / rising
    return (total - step) / max(1, total - rising)


def make_optimizer(model: nn.Module, spec: FineTuning) -> torch.optim.AdamW:
    """AdamW: the head (all outside the encoder) at its own rate; no decay of biases, norms, layer weights."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name.startswith("encoder."), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    options = [
        {
            "params": parameters,
            "base": spec.learning_rate if in_encoder else spec.head_learning_rate,
            "weight_decay": spec.weight_decay if decays else 0.0,
        }
        for (in_encoder, decays), parameters in groups.items()
    ]
    return torch.optim.AdamW(options, lr=0.0, fused=True)


class TuningLoop:
    """The epochs of one fine-tuning and what they have reached."""

    def __init__(self, task: Task, device: str | torch.device = "cpu", microbatch: int | None = None) -> None:
        self.task, self.spec = task, task.training
        self.microbatch = rows_at_once(task.model, microbatch)
        self.device = torch.device(device)
        self.model = task.model.to(self.device)
        self.optimizer = make_optimizer(self.model, self.spec)
        self.objective = Objective(task.train_labels, len(task.labels), self.spec, self.device)
        self.steps = math.ceil(len(task.train_labels) / self.spec.batch_size)
        self.progress = Progress()
        self.best: dict[str, Tensor] = {}

    def train(self, reporter: Reporter) -> None:
        with tempfile.TemporaryDirectory(prefix="orch-tuning-") as folder:
            if reporter.restore(Path(folder)):
                self.progress, self.best = load_checkpoint(Path(folder), self.model, self.optimizer)
        while self.progress.epoch < self.spec.epochs:
            metrics = self._epoch(self.progress.epoch + 1)
            if distributed.rank() == 0:
                with tempfile.TemporaryDirectory(prefix="orch-tuning-") as folder:
                    save_checkpoint(Path(folder), self.model, self.best, self.optimizer, self.progress)
                    reporter.save(Path(folder))
            reporter.report(self.progress.epoch, metrics)
            stop = distributed.any_worker(reporter.should_stop(), self.device)
            if stop and self.progress.epoch < self.spec.epochs:
                reporter.stopped()
                break

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.monotonic()
        torch.manual_seed((self.spec.seed * 1009 + epoch) * 1009 + distributed.rank())
        loss = self._steps(epoch)
        found = self.evaluate()
        if not math.isfinite(loss) or not math.isfinite(found[SCORE]):
            raise DivergedError(f"{self.task.name} teacher, epoch {epoch}: the loss is {loss}; lower its rates")
        metrics = {"epoch": float(epoch), "loss": loss, **{f"dev/{k}": v for k, v in found.items()}}
        metrics["learning_rate"] = self.spec.learning_rate * self._factor(epoch * self.steps - 1)
        metrics["seconds"] = time.monotonic() - start
        self.progress.epoch = epoch
        self.progress.curves.append(metrics)
        if found[SCORE] > self.progress.best_score:
            self.progress.best_epoch, self.progress.best_score = epoch, found[SCORE]
            self.best = copied(self.model)
        return metrics

    def _factor(self, step: int) -> float:
        return rate_factor(step, self.spec.epochs * self.steps, self.spec.warmup)

    def _steps(self, epoch: int) -> float:
        """One pass over train; the mean loss in nats."""
        self.model.train()
        batches = epoch_batches(self.task.train.lengths, self.spec.batch_size, self.spec.seed, epoch)
        world, rank = distributed.world_size(), distributed.rank()
        pieces = [split_rows(batch, rank, world, self.microbatch) for batch in batches]
        inputs = prefetched(self.task.train.collate, (piece for share in pieces for piece in share))
        total = torch.zeros((), device=self.device)
        for index, (batch, share) in enumerate(zip(batches, pieces, strict=True)):
            weight = self.objective.weight(batch)
            for _ in share:
                rows, values = next(inputs)
                with autocast(self.device, self.spec.precision):
                    output = self.model(values.to(self.device))
                loss = self._loss(output, rows) / weight
                torch.autograd.backward(loss)
                total += loss.detach()
            self._step((epoch - 1) * self.steps + index)
        return float(distributed.summed(total) / len(batches))

    def _loss(self, output: TeacherOutput, rows: NDArray[np.int64]) -> Tensor:
        """The sum over rows of the objective; the mean of the members' own beside it, if any."""
        whole = self.objective.loss(output.logits, rows)
        if output.members is None:
            return whole
        members = [self.objective.loss(member, rows) for member in output.members.unbind(1)]
        return whole + torch.stack(members).mean()

    def _step(self, step: int) -> None:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        distributed.sum_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, self.spec.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * self._factor(step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self) -> dict[str, float]:
        """Every metric on dev; each worker scores its share."""
        rows = np.arange(len(self.task.dev_labels))[distributed.rank() :: distributed.world_size()]
        logits = torch.zeros(len(self.task.dev_labels), len(self.task.labels), device=self.device)
        for batch, output in run(self.model, self.task.dev, self.device, rows=rows):
            logits[torch.from_numpy(batch).to(self.device)] = output.logits
        found = distributed.summed(logits).cpu().numpy()
        if not np.isfinite(found).all():
            raise DivergedError(f"{self.task.name} teacher: its dev scores are not finite; lower its rates")
        return scores(self.task.dev_labels, probabilities_of(found, self.objective.several))
