from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.batches import with_stream
from tests.helpers.runs import KeepingReporter, small_run, without_seconds
from tests.helpers.transfer_sets import synthetic
from trainables import checkpoint
from trainables.determinism import derive, reproducible
from trainables.errors import ArtifactError, DivergedError
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.schedules import warmup_cosine
from trainables.transfer_set import TransferSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


TEXT = {"modalities": ["text"]}


def test_patience_ends_a_run_and_the_best_epoch_is_kept(data: TransferSet) -> None:
    run = small_run(student=TEXT, method={"type": "supervised"}, training={"epochs": 30, "patience": 2})
    result = train(run, data, ListReporter(), threads=1)
    scores = [c["dev/weighted_f1"] for c in result.curves]
    assert result.epochs < 30 and result.epochs == result.best_epoch + 2
    assert result.score == max(scores) == scores[result.best_epoch - 1]


def test_only_classification_epochs_count(data: TransferSet) -> None:
    """Patience would end phase one after its second epoch, if it ran there."""
    method = {"type": "cmd", "phase_one": 0.5}
    run = small_run(student=TEXT, method=method, training={"epochs": 10, "patience": 1})
    result = train(run, data, ListReporter(), threads=1)
    phases = [c["phase"] for c in result.curves]
    assert phases[:5] == [0.0] * 5 and phases[5:] == [1.0] * (result.epochs - 5)
    assert result.best_epoch > 5


def test_a_stop_within_phase_one_keeps_the_latest_weights(data: TransferSet) -> None:
    run = small_run(student=TEXT, method={"type": "cmd", "phase_one": 1.0}, training={"epochs": 9})
    result = train(run, data, ListReporter(stop_after=2), threads=1)
    assert result.epochs == result.best_epoch == 2
    assert result.score == result.curves[-1]["dev/weighted_f1"]


def test_a_metric_where_lower_is_better(data: TransferSet) -> None:
    run = small_run(student=TEXT, method={"type": "supervised"}, metric="nll", training={"epochs": 4})
    result = train(run, data, ListReporter(), threads=1)
    assert result.score == min(c["dev/nll"] for c in result.curves)


def test_the_result_is_of_the_best_epochs_weights(data: TransferSet) -> None:
    from trainables.metrics import scores

    run = small_run(student=TEXT, training={"epochs": 6, "learning_rate": 0.01})
    result = train(run, data, ListReporter(), threads=1)
    assert scores(result.dev.labels, result.dev.probabilities)["weighted_f1"] == result.score
    np.testing.assert_array_equal(result.dev.index, data.rows("dev", ("text",)))


def test_learning_rate_warms_up_and_decays(data: TransferSet) -> None:
    run = small_run(student=TEXT, method={"type": "supervised"}, training={"epochs": 4, "warmup": 0.5})
    curves = train(run, data, ListReporter(), threads=1).curves
    steps = len(range(0, len(data.rows("train", ("text",))), 16))
    last = [1e-3 * warmup_cosine((e + (steps - 0.5) / steps) / 4, 0.5) for e in range(4)]
    assert [c["learning_rate"] for c in curves] == pytest.approx(last)


def test_a_loss_that_is_not_finite_names_epoch_and_term(data: TransferSet) -> None:
    broken = replace(data.teachers["text"], pooled=np.full_like(data.teachers["text"].pooled, np.nan))
    poisoned = replace(data, teachers={**data.teachers, "text": broken})
    with pytest.raises(DivergedError, match="epoch 1: loss/contrast_self is nan"):
        train(small_run(student=TEXT), poisoned, ListReporter(), threads=1)


def test_a_score_that_is_not_finite_names_epoch_and_metric(data: TransferSet) -> None:
    frames = np.array(data.streams["audio"].values)
    frames[data.streams["audio"].offsets[data.rows("dev", ("audio",))[0]]] = np.nan
    run = small_run(student={"modalities": ["audio"]}, method={"type": "supervised"})
    with pytest.raises(DivergedError, match=r"epoch 1: dev/weighted_f1 is nan"):
        train(run, with_stream(data, "audio", values=frames), ListReporter(), threads=1)


@pytest.mark.parametrize("option", [{"class_weights": "inverse"}, {"label_smoothing": 0.3}, {"weight_decay": 9.0}])
def test_training_options_bear_on_the_result(data: TransferSet, option: dict[str, object]) -> None:
    skewed = replace(data, label=np.where(np.arange(len(data)) % 3 == 0, 0, data.label))
    losses = [
        train(small_run(student=TEXT, training=t), skewed, ListReporter(), threads=1).curves[-1]["loss"]
        for t in ({}, option)
    ]
    assert losses[0] != losses[1]


def test_bfloat16_trains_to_nearly_the_same_loss(data: TransferSet) -> None:
    losses = [
        train(small_run(training={"precision": p}), data, ListReporter(), threads=1).curves[-1]["loss"]
        for p in ("float32", "bfloat16")
    ]
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=0.05)


def test_checkpoints_are_saved_by_the_clock_and_at_a_stop(data: TransferSet, tmp_path: Path) -> None:
    run = small_run(student=TEXT)
    saves = []
    for seconds, stop in ((0.0, None), (1e9, None), (1e9, 2)):
        reporter = KeepingReporter(kept=tmp_path / f"{seconds}{stop}", stop_after=stop)
        train(run, data, reporter, threads=1, checkpoint_every_seconds=seconds)
        saves.append(reporter.saves)
    assert saves == [3, 0, 1]


def test_a_checkpoint_is_tensors_and_json_and_of_one_run(data: TransferSet, tmp_path: Path) -> None:
    reporter = KeepingReporter(kept=tmp_path / "kept", stop_after=1)
    train(small_run(student=TEXT), data, reporter, threads=1)
    assert sorted(p.name for p in reporter.kept.iterdir()) == ["state.json", "state.safetensors"]
    with pytest.raises(ArtifactError, match="another run"):
        checkpoint.read(reporter.kept, small_run(student=TEXT, seed=1))


def test_a_finished_run_restored_trains_no_further(data: TransferSet, tmp_path: Path) -> None:
    run = small_run(student=TEXT)
    reporter = KeepingReporter(kept=tmp_path / "kept")
    first = train(run, data, reporter, threads=1, checkpoint_every_seconds=0)
    again = train(run, data, reporter, threads=1)
    assert len(reporter.reports) == 3 and again.curves == first.curves
    np.testing.assert_array_equal(again.dev.logits, first.dev.logits)


def test_training_leaves_torch_as_it_was(data: TransferSet) -> None:
    torch.manual_seed(3)
    before = (torch.get_rng_state(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    np.random.seed(3)
    drawn = np.random.get_state()[1].copy()  # type: ignore[index]
    train(small_run(student=TEXT), data, ListReporter(), threads=1)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[1:]
    assert (np.random.get_state()[1] == drawn).all()  # type: ignore[index]


def test_repeats_to_the_bit_whatever_ran_between(data: TransferSet) -> None:
    run = small_run(training={"epochs": 2})
    first = train(run, data, ListReporter(), threads=1)
    train(small_run(seed=1, method={"type": "supervised"}), data, ListReporter(), threads=1)
    torch.rand(7)
    again = train(run, data, ListReporter(), threads=1)
    assert without_seconds(again.curves) == without_seconds(first.curves)
    assert all(torch.equal(first.student_state[k], v) for k, v in again.student_state.items())


class SeedReporter(ListReporter):
    """Notes the seed from which each epoch drew."""

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        super().report(epoch, {"seed": torch.initial_seed()})


def test_every_epoch_draws_from_a_seed_of_its_own(data: TransferSet) -> None:
    reporter = SeedReporter()
    train(small_run(student=TEXT, seed=3), data, reporter, threads=1)
    assert [m["seed"] for _, m in reporter.reports] == [derive(3, epoch, 0) for epoch in (1, 2, 3)]


def test_seeds_are_derived_from_every_part() -> None:
    seeds = {derive(0, 1), derive(0, 2), derive(1, 1), derive(0, 1, 0), derive(0, "1")}
    assert len(seeds) == 5 and all(0 <= s < 2**63 for s in seeds)


def test_reproducible_restores_after_an_error() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ZeroDivisionError), reproducible(threads=1):
        assert torch.get_num_threads() == 1 and torch.are_deterministic_algorithms_enabled()
        _ = 1 / 0
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
