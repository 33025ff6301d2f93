"""Epochs: batches in, gradient steps, a dev score, the best weights kept. Blind to which method it trains.

Every epoch reseeds from (seed, epoch, rank), so that a run resumed at an epoch's end goes on with the same bits,
and nothing depends on what the process did before. Progress, and with it every schedule of a method, moves once
an epoch, from 0 in the first to 1 in the last; the learning rate moves every step.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from trainables import checkpoint
from trainables.absence import drawn, without
from trainables.batching import Batch, Batcher, epoch_batches
from trainables.determinism import derive
from trainables.errors import DivergedError
from trainables.evaluation import Predictions, count_parameters, predict_dev
from trainables.method import BaseMethod, Step
from trainables.metrics import scores
from trainables.reporter import Reporter
from trainables.schedules import warmup_cosine
from trainables.spec.base import Modality
from trainables.spec.metrics import LOWER_IS_BETTER, metrics_of
from trainables.spec.run import RunSpec
from trainables.students import Student
from trainables.transfer_set import TransferSet
from trainables.world import World

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainResult:
    score: float
    """The dev score `run.metric` of the best epoch."""
    best_epoch: int
    epochs: int
    """Epochs run, from 1."""
    curves: list[dict[str, float]]
    """What was reported, one an epoch."""
    dev: Predictions
    """Of the best epoch's weights."""
    student_state: dict[str, Tensor]
    """Of the best epoch, on the CPU."""
    parameters: int


@dataclass
class Progress:
    """Where a run stands at an epoch's end."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = 0.0
    counted: bool = False
    """Whether `best` is of a classification epoch; until then the latest epoch stands for it."""
    best: dict[str, Tensor] = field(default_factory=dict)
    curves: list[dict[str, float]] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        return {k: v for k, v in vars(self).items() if k != "best"}


@dataclass(frozen=True)
class Circumstance:
    """What does not bear on the result."""

    device: str = "cpu"
    scratch: Path | None = None
    checkpoint_every_seconds: float = 60.0


class Loop:
    """One run of training. Build it inside `determinism.reproducible`."""

    def __init__(
        self,
        run: RunSpec,
        data: TransferSet,
        student: Student,
        method: BaseMethod,
        batcher: Batcher,
        *,
        reporter: Reporter,
        where: Circumstance,
    ) -> None:
        self.run, self.data, self.student, self.method = run, data, student, method
        self.batcher, self.reporter, self.device, self.scratch = batcher, reporter, where.device, where.scratch
        self.world = World.current()
        self.rows = data.rows("train", student.modalities)
        self.held_out = method.held_out
        if self.held_out is not None:
            self.rows = np.setdiff1d(self.rows, self.held_out)
        self.dev_rows = data.rows("dev", student.modalities)
        self.inputs = run.method.inputs(student.modalities)
        self.parameters = [*student.parameters(), *method.heads.parameters()]
        self.optimizer = _optimizer(self.parameters, run)
        self.state = Progress()
        self._every, self._saved = where.checkpoint_every_seconds, time.monotonic()

    def fit(self) -> TrainResult:
        """Train to the end, to the end of patience, or until the reporter says stop."""
        self._restore()
        while self._goes_on():
            metrics = self._epoch(self.state.epoch + 1)
            try:
                self.reporter.report(self.state.epoch, metrics)
            except SystemExit:  # who ends the run here may let it go on later
                self._save(only_if_due=True)
                raise
            stop = self.world.any(self.reporter.should_stop(), self.device) and self._goes_on()
            self._save(only_if_due=not stop)
            if stop:
                self.world.any(stop, self.device)  # no worker leaves while the first one is saving
                self.reporter.stopped()
                break
        state = self.state
        self.student.load_state_dict(state.best)
        # A late fusion is fitted anew: the last of several inputs that dev is scored on was not the whole one.
        dev = predict_dev(self.student, self.batcher, self.data, self.dev_rows)
        return TrainResult(
            state.best_score, state.best_epoch, state.epoch, state.curves, dev, self._weights(),
            count_parameters(self.student),
        )  # fmt: skip

    def _goes_on(self) -> bool:
        return self.state.epoch < self.run.training.epochs and not self._patience_is_over()

    def _epoch(self, epoch: int) -> dict[str, float]:
        start = time.perf_counter()
        epochs = self.run.training.epochs
        progress = (epoch - 1) / (epochs - 1) if epochs > 1 else 1.0
        torch.manual_seed(derive(self.run.seed, epoch, self.world.rank))
        terms = self._train(epoch, progress)
        counts = self.method.phase(progress) == "classification"
        dev = self._score(epoch)
        metrics = {
            "epoch": float(epoch),
            "loss": math.fsum(terms.values()),
            **{f"loss/{name}": value for name, value in terms.items()},
            **{f"dev/{name}": value for name, value in dev.items()},
            "phase": float(counts),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            **self.method.values(progress),
            "seconds": time.perf_counter() - start,
        }
        self._keep(epoch, dev[self.run.metric], counts)
        self.state.curves.append(metrics)
        return metrics

    def _train(self, epoch: int, progress: float) -> dict[str, float]:
        """One pass over the epoch's samples; the mean of each loss term over them."""
        self.student.train()
        sampling = self.method.sampling(progress)
        rows = self.rows if sampling.rows is None else sampling.rows
        size = self.run.training.batch_size
        batches = epoch_batches(rows, self.batcher.lengths, size, self.run.seed, epoch)
        totals: dict[str, Tensor] = {}
        self._draws = self._held_out_batches(epoch)
        for step, index in enumerate(batches):
            self._set_learning_rate((epoch - 1 + (step + 0.5) / len(batches)) / self.run.training.epochs)
            for name, value in self._step(index, sampling.weights, progress).items():
                total = totals.setdefault(name, torch.zeros_like(value))
                total.add_(value.detach(), alpha=len(index) / len(rows))
        means = {name: float(total) for name, total in totals.items()}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise DivergedError(f"epoch {epoch}: loss/{name} is {mean}; lower training.learning_rate")
        return means

    def _step(
        self, batch: NDArray[np.int64], weights: NDArray[np.float32] | None, progress: float
    ) -> dict[str, Tensor]:
        slices = self.world.slices(batch)
        own = self.batcher.batch(slices[self.world.rank], weights)
        views = self.method.views(own)
        own = self._given(batch, own)
        rate = float(self.optimizer.param_groups[0]["lr"])
        self.method.before_step(Step(self.student, own, progress, rate, lambda: next(self._draws)))
        half = self.run.training.precision == "bfloat16"
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=half):
            output = self.student(own, self.method.attention(progress))
            if views:
                output = replace(output, views={name: self.student(view) for name, view in views.items()})
        if self.world.size > 1:
            output = self.world.gather(output, [len(s) for s in slices])
            own = self.batcher.targets(np.concatenate(slices), weights)
        with self._same_draws(own):
            terms = self.method.loss(output, own, progress)
        self.optimizer.zero_grad(set_to_none=True)
        functools.reduce(operator.add, terms.values()).backward()  # type: ignore[no-untyped-call]
        if self.world.size > 1:
            self.world.combine(self.student, self.method.heads)
        nn.utils.clip_grad_norm_(self.parameters, self.run.training.clip)
        self.optimizer.step()
        return terms

    def _given(self, batch: NDArray[np.int64], own: Batch) -> Batch:
        """What the student sees of its slice of the batch: modalities dropped, and what the method takes away.

        The draws are of the whole batch, so that they do not depend on how many workers share it.
        """
        seed = derive(self.run.seed, "given", self.state.epoch, *batch[:8].tolist())
        p, modalities = self.run.training.modality_dropout, self.student.modalities
        if p and len(modalities) > 1:
            draws = np.random.default_rng(seed).random((len(batch), len(modalities)))
            chance = torch.from_numpy(draws[self.world.rank :: self.world.size]).to(own.index.device)
            own = without(own, drawn(own, modalities, chance, p), self.batcher.pad_id)
        return self.method.given(own, random.Random(seed))

    @contextmanager
    def _same_draws(self, batch: Batch) -> Iterator[None]:
        """Each of several ranks works out the whole batch's loss, so that what it draws must be the same on all."""
        if self.world.size == 1:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(self.run.seed, "loss", self.state.epoch, *batch.index[:8].tolist()))
            yield

    def _held_out_batches(self, epoch: int) -> Iterator[Batch]:
        """Batches of the rows that the method holds out, in an order that depends on seed and epoch alone."""
        if self.held_out is None:
            return
        size, seed = self.run.training.batch_size, derive(self.run.seed, "held out")
        for turn in itertools.count():
            for index in epoch_batches(self.held_out, self.batcher.lengths, size, seed, 10_000 * turn + epoch):
                yield self.batcher.batch(index)

    def _set_learning_rate(self, progress: float) -> None:
        rate = self.run.training.learning_rate * warmup_cosine(progress, self.run.training.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _score(self, epoch: int) -> dict[str, float]:
        """Every metric on dev, by rank 0; DivergedError where the logits are not finite.

        Where the method scores several inputs, each metric is the mean over them, and beside it stands each one's.
        """
        names = self._names()
        found = [math.nan] * len(names)
        if self.world.rank == 0:
            measured = [self._measured(kept) for kept in self.inputs]
            if all(measured):
                found = [fmean(each) for each in zip(*(one.values() for one in measured), strict=True)]
                found += [one[self.run.metric] for one in measured] if len(measured) > 1 else []
        shared = dict(zip(names, self.world.from_first(found, self.device), strict=True))
        for name, value in shared.items():
            if not math.isfinite(value):
                raise DivergedError(f"epoch {epoch}: dev/{name} is {value}; lower training.learning_rate")
        return shared

    def _names(self) -> tuple[str, ...]:
        each = (f"{'+'.join(kept)}/{self.run.metric}" for kept in self.inputs if len(self.inputs) > 1)
        return (*metrics_of(self.data.multi_label), *each)

    def _measured(self, kept: tuple[Modality, ...]) -> dict[str, float]:
        """The scores on dev with no other modality than these; empty where the logits are not finite."""
        dev = predict_dev(self.student, self.batcher, self.data, self.dev_rows, kept=kept)
        return scores(dev.labels, dev.probabilities) if np.isfinite(dev.logits).all() else {}

    def _keep(self, epoch: int, score: float, counts: bool) -> None:
        state, sign = self.state, -1.0 if self.run.metric in LOWER_IS_BETTER else 1.0
        state.epoch = epoch
        if not state.counted or (counts and sign * score > sign * state.best_score):
            state.best_epoch, state.best_score, state.counted = epoch, score, counts
            state.best = self._weights()

    def _weights(self) -> dict[str, Tensor]:
        """The student's, on the CPU."""
        return {k: v.detach().cpu().clone() for k, v in self.student.state_dict().items()}

    def _patience_is_over(self) -> bool:
        patience, state = self.run.training.patience, self.state
        return patience > 0 and state.counted and state.epoch - state.best_epoch >= patience

    def _save(self, *, only_if_due: bool) -> None:
        if only_if_due and time.monotonic() - self._saved < self._every:
            return
        self._saved = time.monotonic()
        if self.world.rank != 0:
            return
        tensors = {
            **checkpoint.under("student", self.student.state_dict()),
            **checkpoint.under("heads", self.method.heads.state_dict()),
            **checkpoint.under("optimizer", checkpoint.optimizer_state(self.optimizer)),
            **checkpoint.under("best", self.state.best),
            **checkpoint.under("method", self.method.state()),
        }
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            checkpoint.write(Path(folder), self.run, tensors, self.state.facts())
            self.reporter.save(Path(folder))

    def _restore(self) -> None:
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            if not self.reporter.restore(Path(folder)):
                return
            tensors, facts = checkpoint.read(Path(folder), self.run)
        self.student.load_state_dict(checkpoint.below("student", tensors))
        self.method.heads.load_state_dict(checkpoint.below("heads", tensors))
        checkpoint.restore_optimizer(self.optimizer, checkpoint.below("optimizer", tensors))
        self.method.restore(checkpoint.below("method", tensors))
        self.state = Progress(**facts, best=checkpoint.below("best", tensors))


def _optimizer(parameters: list[nn.Parameter], run: RunSpec) -> torch.optim.Optimizer:
    """AdamW; vectors (biases, norms, gains) do not decay."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": run.training.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.training.learning_rate, fused=True)
