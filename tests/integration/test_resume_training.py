"""Runs cut off, resumed, repeated in other processes and split over workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.multiprocessing.spawn import spawn

from tests.helpers.runs import KeepingReporter, small_run, without_seconds
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from trainables.reporter import ListReporter
from trainables.run import TrainResult, train
from trainables.spec import RunSpec
from trainables.transfer_set import TransferSet
from trainables.world import World

RUN = small_run(
    method={"type": "cmd", "phase_one": 0.4, "curriculum": {"type": "teacher_nll"}, "attention_weight": 0.1},
    training={"epochs": 5, "learning_rate": 0.005},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    synthetic(root, n=70, attention=True)
    return root / "cache" / FINGERPRINT


@pytest.fixture(scope="module")
def data(folder: Path) -> TransferSet:
    return TransferSet.open(folder)


@pytest.fixture(scope="module")
def whole(data: TransferSet) -> TrainResult:
    return train(RUN, data, ListReporter(), threads=1)


def same(a: TrainResult, b: TrainResult) -> bool:
    states = all(torch.equal(a.student_state[k], v) for k, v in b.student_state.items())
    curves = without_seconds(a.curves) == without_seconds(b.curves)
    return states and curves and a.score == b.score and bool((a.dev.logits == b.dev.logits).all())


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_run_resumed_has_the_bits_of_one_never_cut(
    data: TransferSet, whole: TrainResult, tmp_path: Path, cut: int
) -> None:
    first = KeepingReporter(kept=tmp_path / "kept", stop_after=cut)
    train(RUN, data, first, threads=1)
    second = KeepingReporter(kept=tmp_path / "kept")
    resumed = train(RUN, data, second, threads=1)
    assert [e for e, _ in first.reports + second.reports] == [1, 2, 3, 4, 5]
    assert same(resumed, whole)


_ELSEWHERE = """
import json, sys
from pathlib import Path
from safetensors.torch import save_file
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec import RunSpec
from trainables.transfer_set import TransferSet
run, folder, out = sys.argv[1:]
result = train(RunSpec.model_validate_json(run), TransferSet.open(Path(folder)), ListReporter(), threads=1)
save_file(result.student_state, out)
print(json.dumps(result.curves))
"""


def test_another_process_finds_the_same_bits(folder: Path, data: TransferSet, tmp_path: Path) -> None:
    """A, then B, then A again in this process; A alone in a fresh one."""
    other = small_run(seed=9, method={"type": "supervised"}, student={"modalities": ["text"]})
    train(RUN, data, ListReporter(), threads=1)
    train(other, data, ListReporter(), threads=1)
    here = train(RUN, data, ListReporter(), threads=1)
    out = tmp_path / "state.safetensors"
    command = [sys.executable, "-c", _ELSEWHERE, RUN.model_dump_json(), str(folder), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path.cwd())
    there: list[dict[str, float]] = json.loads(done.stdout)
    assert without_seconds(there) == without_seconds(here.curves)
    assert all(torch.equal(here.student_state[k], v) for k, v in load_file(out).items())


def _worker(rank: int, size: int, run: RunSpec, folder: Path, out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=size)
    try:
        _combine(rank, size)
        reporter = ListReporter()
        result = train(run, TransferSet.open(folder), reporter, threads=1)
        save_file(result.student_state, out / f"{rank}.safetensors")
        (out / f"{rank}.json").write_text(json.dumps([m for _, m in reporter.reports]))
    finally:
        dist.destroy_process_group()


def _combine(rank: int, size: int) -> None:
    """Gradients of slices add up; those of heads, equal on every rank, stay as they are."""
    student, heads = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1, bias=False)
    student.weight.grad, heads.weight.grad = torch.full((1, 2), rank + 1.0), torch.full((1, 2), 4.0)
    World(rank, size).combine(student, heads)
    assert student.weight.grad is not None and student.weight.grad.tolist() == [[3.0, 3.0]]
    assert heads.weight.grad is not None and heads.weight.grad.tolist() == [[4.0, 4.0]]


def test_two_workers_do_the_work_of_one(folder: Path, data: TransferSet, tmp_path: Path) -> None:
    """Without dropout the loss of the global batch, contrast and all, is the same up to rounding."""
    parts: dict[str, Any] = {
        "student": {"dropout": 0, "embedding_dropout": 0},
        "training": {"epochs": 2, "class_weights": "inverse", "batch_size": 15},
    }
    run = small_run(method={"type": "cmd", "phases": "joint", "attention_weight": 0.1}, **parts)
    one = train(run, data, ListReporter(), threads=1)
    spawn(_worker, args=(2, run, folder, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    curves = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    states = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    assert without_seconds(curves[0]) == without_seconds(curves[1])
    for ours, theirs in zip(curves[0], one.curves, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
        np.testing.assert_allclose(value.numpy(), one.student_state[name].numpy(), rtol=0.02, atol=2e-3)
