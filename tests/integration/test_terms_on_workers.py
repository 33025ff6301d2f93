"""Terms that draw and remember do so alike on every worker, or their heads and banks would drift apart."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch.multiprocessing.spawn import spawn

from tests.helpers.runs import KeepingReporter, without_seconds
from tests.helpers.students import run_of
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from trainables.checkpoint import below
from trainables.run import train
from trainables.spec import RunSpec
from trainables.transfer_set import TransferSet


def _worker(rank: int, size: int, run: RunSpec, folder: Path, out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{out / 'store'}", rank=rank, world_size=size)
    try:
        reporter = KeepingReporter(kept=out / f"kept-{rank}")
        result = train(run, TransferSet.open(folder), reporter, threads=1)
        save_file(result.student_state, out / f"{rank}.safetensors")
        (out / f"{rank}.json").write_text(json.dumps([m for _, m in reporter.reports]))
    finally:
        dist.destroy_process_group()


def test_two_workers_draw_and_remember_alike(tmp_path: Path) -> None:
    synthetic(tmp_path / "data", n=70)
    terms = {name: {"enabled": True} for name in ("crd", "pairs")}
    run = run_of({}, {"type": "distil", "terms": terms}, training={"epochs": 3})
    folder = tmp_path / "data" / "cache" / FINGERPRINT
    spawn(_worker, args=(2, run, folder, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    curves = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    states = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    assert len(curves[0]) == 3 and without_seconds(curves[0]) == without_seconds(curves[1])
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    assert all(curve["loss/term_crd"] > 0 and curve["loss/term_pairs"] > 0 for curve in curves[0])


def test_two_workers_co_learn_as_one_does(tmp_path: Path) -> None:
    """Views are gathered as the whole is, and modalities are drawn for the batch, not for the worker."""
    data = synthetic(tmp_path / "data", n=70)
    method = {"type": "co_learning", "mutual": 0.5}
    still = {"dropout": 0.0, "embedding_dropout": 0.0, "word_dropout": 0.0}  # each worker drops out for itself
    student = {"type": "cross_modal_transformer", **still}
    run = run_of(student, method, training={"epochs": 2, "modality_dropout": 0.4})
    alone = train(run, data, KeepingReporter(kept=tmp_path / "kept"), threads=1)
    spawn(_worker, args=(2, run, tmp_path / "data" / "cache" / FINGERPRINT, tmp_path), nprocs=2)  # type: ignore[no-untyped-call]
    together = load_file(tmp_path / "0.safetensors")
    for name, value in alone.student_state.items():
        torch.testing.assert_close(together[name], value, rtol=2e-3, atol=2e-4, msg=name)


def test_a_checkpoint_has_the_bank(tmp_path: Path) -> None:
    data = synthetic(tmp_path / "data", n=70)
    run = run_of({}, {"type": "distil", "terms": {"crd": {"enabled": True}}}, training={"epochs": 2})
    train(run, data, KeepingReporter(kept=tmp_path / "kept", stop_after=1), threads=1)
    heads = below("heads", load_file(tmp_path / "kept" / "state.safetensors"))
    banks = [value for name, value in heads.items() if ".bank.memory_" in name]
    assert [tuple(bank.shape) for bank in banks] == [(len(data.rows("train", ("audio",))), 128)] * 2
    assert not torch.allclose(banks[0], banks[1])
