"""Interactive co-learning: which terms there are, what they are worth, and who moves for whom."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.helpers.runs import KeepingReporter, small_run, without_seconds
from tests.helpers.students import run_of as student_run
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher
from trainables.evaluation import predict
from trainables.late_fusion import fit
from trainables.method import Setting
from trainables.methods.co_learning import CoLearningMethod
from trainables.reporter import ListReporter
from trainables.run import load_student, train
from trainables.spec import RunSpec
from trainables.spec.base import MODALITIES
from trainables.spec.method import CoLearning, subsets
from trainables.students import StudentOutput, build_student
from trainables.transfer_set import TransferSet

CORPUS = {"type": "standin", "modalities": ["audio", "text", "visual"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), modalities=MODALITIES)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("several"), modalities=MODALITIES, several=True)


def run_of(modalities: tuple[str, ...] = ("audio", "visual"), *, labels: bool = False, **method: Any) -> RunSpec:
    return student_run(
        {"type": "cross_modal_transformer", "modalities": modalities},
        {"type": "co_learning", **method},
        corpus={**CORPUS, "several": labels},
        training={"epochs": 2, "label_weights": "none"},
        features={"mel_bands": 8, "image_size": 16},
    )


def method_of(run: RunSpec, data: TransferSet) -> CoLearningMethod:
    student = build_student(run.student, data, 0)
    return CoLearningMethod(Setting(run, data, data.rows("train", run.student.modalities), student.widths))


def output_of(logits: Tensor, **views: Tensor) -> StudentOutput:
    found = {name.replace("_", "+"): StudentOutput(z, z) for name, z in views.items()}
    return StudentOutput(logits, logits, views=found)


def batch_of(data: TransferSet, run: RunSpec, rows: list[int]) -> Batch:
    return Batcher(data, run.student).batch(np.array(rows))


def test_subsets_in_their_order() -> None:
    assert subsets(("visual", "audio"), "every") == (("audio", "visual"), ("audio",), ("visual",))
    assert subsets(("audio",), "every") == (("audio",),)
    assert len(subsets(MODALITIES, "every")) == 7 and len(subsets(MODALITIES, "single")) == 4


@pytest.mark.parametrize(
    ("mode", "terms"),
    [
        ("joint", {"ce", "ce_parts"}),
        ("distil", {"ce", "ce_parts", "to_parts"}),
        ("interactive", {"ce", "ce_parts", "to_parts", "to_whole", "mutual"}),
        ("dropout", {"ce"}),
    ],
)
def test_the_terms_of_each_mode(data: TransferSet, mode: str, terms: set[str]) -> None:
    run = run_of(mode=mode, mutual=0.5)
    method, batch = method_of(run, data), batch_of(data, run, [10, 11, 12])
    views = {name.replace("+", "_"): torch.randn(3, 7) for name in method.views(batch)}
    assert set(method.own(output_of(torch.randn(3, 7), **views), batch, 0.5)) == terms


def test_each_term_by_hand(data: TransferSet) -> None:
    run = run_of(part_weight=0.5, to_parts=0.3, to_whole=0.2, mutual=0.7, temperature=2.0)
    method, batch = method_of(run, data), batch_of(data, run, [10, 11])
    z, a, v = (torch.randn(2, 7, generator=torch.Generator().manual_seed(i)) for i in range(3))
    terms = method.own(output_of(z, audio=a, visual=v), batch, 0.0)

    def kl(student: Tensor, teacher: Tensor) -> Tensor:
        p = (teacher / 2).softmax(1)
        return 4 * (p * (p.log() - (student / 2).log_softmax(1))).sum(1).mean()

    ce = [F.cross_entropy(x, batch.labels) for x in (a, v)]
    expected = {
        "ce": F.cross_entropy(z, batch.labels),
        "ce_parts": 0.5 * (ce[0] + ce[1]) / 2,
        "to_parts": 0.3 * (kl(a, z) + kl(v, z)) / 2,
        "to_whole": 0.2 * (kl(z, a) + kl(z, v)) / 2,
        "mutual": 0.7 * (kl(a, v) + kl(v, a)) / 2,
    }
    assert set(terms) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, msg=name)


def test_several_labels_are_told_one_by_one(several: TransferSet) -> None:
    run = run_of(labels=True, to_parts=1.0, to_whole=0.0, temperature=1.0)
    method, batch = method_of(run, several), batch_of(several, run, [10, 11])
    z, a, v = (torch.randn(2, 7, generator=torch.Generator().manual_seed(i)) for i in range(3))
    terms = method.own(output_of(z, audio=a, visual=v), batch, 0.0)
    torch.testing.assert_close(terms["ce"], F.binary_cross_entropy_with_logits(z, batch.labels))

    def kl(student: Tensor, teacher: Tensor) -> Tensor:
        p, q = teacher.sigmoid(), student.sigmoid()
        return (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()

    torch.testing.assert_close(terms["to_parts"], (kl(a, z) + kl(v, z)) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("term", "moves"), [("to_parts", "parts"), ("to_whole", "whole")])
def test_what_follows_never_moves_what_is_followed(data: TransferSet, term: str, moves: str) -> None:
    run = run_of(to_parts=1.0, to_whole=1.0)
    method, batch = method_of(run, data), batch_of(data, run, [10, 11])
    z, a, v = (torch.randn(2, 7, requires_grad=True) for _ in range(3))
    method.own(output_of(z, audio=a, visual=v), batch, 0.0)[term].backward()  # type: ignore[no-untyped-call]
    moved = {name for name, x in (("whole", z), ("parts", a), ("parts", v)) if x.grad is not None and x.grad.any()}
    assert moved == {moves}


def test_a_part_of_which_nothing_is_there_says_nothing(data: TransferSet) -> None:
    """The first rows have no pictures: neither label nor whole bears on what is said of their pictures."""
    run = run_of(mode="interactive", mutual=1.0)
    method, batch = method_of(run, data), batch_of(data, run, [0, 10])
    assert not data.present("visual")[0] and data.present("visual")[10]
    z, a, v = (torch.randn(2, 7, requires_grad=True) for _ in range(3))
    terms = method.own(output_of(z, audio=a, visual=v), batch, 0.0)
    parts = torch.stack([term for name, term in terms.items() if name != "ce"]).sum()
    parts.backward()  # type: ignore[no-untyped-call]
    assert v.grad is not None and not v.grad[0].any() and v.grad[1].any()
    assert a.grad is not None and a.grad[0].any()


def test_views_are_the_parts_and_nothing_else(data: TransferSet) -> None:
    run = run_of(modalities=MODALITIES)
    method, batch = method_of(run, data), batch_of(data, run, [10, 11])
    views = method.views(batch)
    assert list(views) == ["audio+text", "audio+visual", "text+visual", "audio", "text", "visual"]
    for name, view in views.items():
        there = {m for m, stream in view.streams.items() if stream.present.all()}
        assert there == set(name.split("+"))
    assert list(method_of(run_of(MODALITIES, parts="single"), data).views(batch)) == list(MODALITIES)


def test_dropout_draws_every_input_alike(data: TransferSet) -> None:
    run = run_of(mode="dropout")
    method, batch = method_of(run, data), batch_of(data, run, [10, 11])
    chance, seen = random.Random(0), dict[str, int]()
    for _ in range(600):
        given = method.given(batch, chance)
        name = "+".join(m for m, stream in given.streams.items() if stream.present.all())
        seen[name] = seen.get(name, 0) + 1
    assert set(seen) == {"audio+visual", "audio", "visual"}
    assert all(150 < count < 250 for count in seen.values())


def test_dropout_leaves_a_row_what_it_has_where_nothing_of_the_input_is_there(data: TransferSet) -> None:
    """The first rows have no pictures: of pictures alone nothing would be left of them to learn the label from."""
    method, batch = method_of(run := run_of(mode="dropout"), data), batch_of(data, run, [0, 10])
    given = [method.given(batch, random.Random(seed)).streams for seed in range(20)]
    assert all(streams["audio"].present[0] for streams in given if not streams["audio"].present[1])
    there = torch.stack([streams["audio"].present | streams["visual"].present for streams in given])
    assert there.all() and not torch.stack([streams["audio"].present[1] for streams in given]).all()


def test_a_late_fusion_is_that_of_the_whole_input(tmp_path: Path) -> None:
    """Dev is scored on each input, and each time what joins the members is fitted anew."""
    data = synthetic(tmp_path, frames=True, segments=True)
    student = {"type": "multi_level_fusion", "levels": ["frame"], "late": "weights"}
    run = student_run(student, {"type": "co_learning"}, training={"epochs": 1})
    result = train(run, data, ListReporter(), threads=1)
    found = load_student(run, data, result.student_state)
    members = predict(found, data, "dev").members
    assert members is not None
    expected = fit("weights", torch.from_numpy(members), torch.from_numpy(data.label[result.dev.index]))
    torch.testing.assert_close(found.state_dict()["late.fitted"], expected.float())


def test_the_epoch_is_chosen_by_the_mean_over_inputs(data: TransferSet) -> None:
    run = run_of(modalities=MODALITIES)
    result = train(run, data, ListReporter(), threads=1)
    inputs = ["+".join(part) for part in subsets(MODALITIES, "every")]
    for epoch in result.curves:
        each = [epoch[f"dev/{name}/weighted_f1"] for name in inputs]
        assert epoch["dev/weighted_f1"] == pytest.approx(np.mean(each))
    assert result.score == max(epoch["dev/weighted_f1"] for epoch in result.curves)


@pytest.mark.parametrize("mode", ["interactive", "dropout"])
def test_a_resumed_run_goes_on_with_the_same_bits(data: TransferSet, tmp_path: Any, mode: str) -> None:
    run = run_of(mode=mode)
    run = run.model_copy(
        update={"training": run.training.model_copy(update={"epochs": 3, "modality_dropout": 0.4})}
    )
    whole = train(run, data, ListReporter(), threads=1)
    kept = KeepingReporter(stop_after=1, kept=tmp_path / "kept")
    train(run, data, kept, threads=1)
    resumed = train(run, data, replace(kept, stop_after=None), threads=1)
    assert without_seconds(resumed.curves) == without_seconds(whole.curves)


def test_modality_dropout_bears_on_the_result_of_any_method(data: TransferSet) -> None:
    base = small_run(method={"type": "supervised"})
    dropped = base.model_copy(update={"training": base.training.model_copy(update={"modality_dropout": 0.5})})
    assert train(base, data, ListReporter(), threads=1).curves[0]["loss"] != pytest.approx(
        train(dropped, data, ListReporter(), threads=1).curves[0]["loss"], abs=1e-6
    )


def test_one_modality_is_plain_training(data: TransferSet) -> None:
    run = run_of(modalities=("audio",))
    method, batch = method_of(run, data), batch_of(data, run, [10, 11])
    assert isinstance(run.method, CoLearning) and not method.views(batch)
    assert set(method.own(output_of(torch.randn(2, 7)), batch, 0.0)) == {"ce"}
