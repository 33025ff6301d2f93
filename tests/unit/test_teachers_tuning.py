"""The step of a global batch: equal however many workers and pieces took it."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.helpers.teachers import CORPUS, small_corpus, small_run
from trainables.errors import DivergedError
from trainables.reporter import ListReporter
from trainables.storage import Storage
from trainables.teachers.checkpoint import copied, load_checkpoint, save_checkpoint
from trainables.teachers.identity import TeacherReads
from trainables.teachers.task import make_task
from trainables.teachers.tuning import TuningLoop, make_optimizer, rate_factor


def loop_of(store: str, microbatch: int | None = None, **training: Any) -> TuningLoop:
    """The tiny text teacher without dropout, so that its draws cannot differ."""
    run = small_run(class_weights="inverse", label_smoothing=0.1, **training)
    task = make_task("text", run, Storage(store), TeacherReads(CORPUS), "cpu")
    for module in task.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return TuningLoop(task, "cpu", microbatch)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    storage = Storage(str(tmp_path_factory.mktemp("tuning") / "store"))
    small_corpus(storage)
    return storage.root


def worker(rank: int, port: int, store: str, out: str) -> None:
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.set_num_threads(1)
    loop = loop_of(store)
    loop.train(ListReporter())
    torch.save({"state": copied(loop.model), "dev": loop.evaluate()}, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[k] - second[k]).abs().max()) for k in first)


def test_two_workers_take_the_steps_of_one(store: str, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(worker, (port, store, str(tmp_path)), nprocs=2)  # type: ignore[attr-defined,no-untyped-call]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    alone = loop_of(store)
    start = copied(alone.model)
    alone.train(ListReporter())
    assert largest_difference(ranks[0]["state"], ranks[1]["state"]) == 0
    assert largest_difference(ranks[0]["state"], copied(alone.model)) < 1e-4
    assert largest_difference(start, copied(alone.model)) > 5e-3
    assert ranks[0]["dev"] == ranks[1]["dev"]


def gradients(loop: TuningLoop) -> dict[str, torch.Tensor]:
    """Of the first global batch, before clipping."""
    found: dict[str, torch.Tensor] = {}

    def keep(step: int) -> None:
        if not found:
            found.update({n: p.grad.clone() for n, p in loop.model.named_parameters() if p.grad is not None})
        loop.optimizer.zero_grad()

    loop._step = keep  # type: ignore[method-assign]
    loop._steps(1)
    return found


@pytest.mark.parametrize("microbatch", [1, 3, 8])
def test_pieces_of_a_batch_add_up_to_its_gradient(store: str, microbatch: int) -> None:
    whole, pieces = gradients(loop_of(store)), gradients(loop_of(store, microbatch))
    assert whole.keys() == pieces.keys()
    assert largest_difference(whole, pieces) < 1e-5 < max(float(g.abs().max()) for g in whole.values())


def test_a_run_repeats_bit_for_bit(store: str) -> None:
    states = []
    for _ in range(2):
        loop = loop_of(store)
        loop.train(ListReporter())
        states.append(copied(loop.model))
    assert largest_difference(*states) == 0


def test_a_reporter_that_says_stop_ends_the_loop(store: str) -> None:
    loop = loop_of(store, epochs=4)
    loop.train(ListReporter(stop_after=1))
    assert loop.progress.epoch == 1 and len(loop.progress.curves) == 1


def test_a_loss_that_is_not_finite_is_said_with_its_epoch(store: str) -> None:
    loop = loop_of(store)
    with torch.no_grad():
        next(loop.model.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="text teacher"):
        loop.train(ListReporter())


def test_the_head_has_its_own_rate_and_norms_do_not_decay(store: str) -> None:
    loop = loop_of(store, learning_rate=1e-4, head_learning_rate=1e-2)
    groups = make_optimizer(loop.model, loop.spec).param_groups
    rates = {(g["base"], g["weight_decay"]) for g in groups}
    assert rates == {(1e-4, 0.01), (1e-4, 0.0), (1e-2, 0.01), (1e-2, 0.0)}
    assert all(p.ndim <= 1 for g in groups if g["weight_decay"] == 0 for p in g["params"])
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in loop.model.parameters())


@pytest.mark.parametrize(("step", "expected"), [(0, 0.1), (9, 1.0), (10, 1.0), (55, 0.5), (99, 1 / 90)])
def test_the_rate_rises_over_a_tenth_and_falls_to_nothing(step: int, expected: float) -> None:
    assert rate_factor(step, 100, 0.1) == pytest.approx(expected)


def test_a_checkpoint_restores_model_optimizer_and_best(store: str, tmp_path: Path) -> None:
    loop = loop_of(store, epochs=1)
    loop.train(ListReporter())
    loop.progress.best_epoch, best = 0, {k: v + 1 for k, v in copied(loop.model).items()}
    save_checkpoint(tmp_path, loop.model, best, loop.optimizer, loop.progress)
    other = loop_of(store, epochs=1)
    progress, restored = load_checkpoint(tmp_path, other.model, other.optimizer)
    assert progress == loop.progress
    assert largest_difference(copied(other.model), copied(loop.model)) == 0
    assert largest_difference(restored, best) == 0
    old, new = (o.optimizer.state_dict()["state"] for o in (loop, other))
    assert old.keys() == new.keys() and len(old) > 0
    assert all(torch.equal(old[i]["exp_avg_sq"], new[i]["exp_avg_sq"]) for i in old)
    assert np.isfinite(loop.progress.best_score)
