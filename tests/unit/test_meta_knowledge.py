from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from orchestrator.experiment import ExperimentSpec
from orchestrator.resources import Resources, TrialResources
from tests.helpers.meta import Case, meta_run
from tests.helpers.runs import KeepingReporter, without_seconds
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch
from trainables.errors import SpecError
from trainables.losses.contrastive import sup_con
from trainables.losses.distillation import kd, soft_mse
from trainables.losses.supervised import cross_entropy
from trainables.methods.meta_knowledge import MetaKnowledgeMethod
from trainables.reporter import ListReporter
from trainables.run import TrainResult, train
from trainables.spec.demands import needs_of, teachers_needed
from trainables.spec.needs import Needs
from trainables.students.base import StudentOutput
from trainables.transfer_set import TransferSet
from trainables.world import World

SIGMOID_ONE = 1 / (1 + math.exp(-1))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), modalities=("audio",))


def item(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(term.detach()) for name, term in terms.items()}


@pytest.mark.parametrize("soft_loss", ["kl", "mse"])
def test_the_loss_by_its_formula(data: TransferSet, soft_loss: str) -> None:
    """(1 - alpha) CE + lambda SupCon + alpha KD at CTKD's first temperature, 1 + 20 sigmoid(1)."""
    case = Case(data, kd_weight=0.3, contrast_weight=0.2, contrast_temperature=0.5, soft_loss=soft_loss)
    case.student.eval()
    output, batch = case.student(case.batch), case.batch
    teacher, tau = batch.teachers["audio"].logits, 1 + 20 * SIGMOID_ONE
    soft = kd(output.logits, teacher, tau) if soft_loss == "kl" else soft_mse(output.logits, teacher, tau)
    u = case.method.heads["projection"](output.embedding)
    expected = {
        "ce": 0.7 * cross_entropy(output.logits, batch.labels),
        "contrast": 0.2 * sup_con(u, batch.labels, 0.5),
        "kd": 0.3 * soft,
    }
    assert item(case.method.loss(output, batch, 0.5)) == pytest.approx(item(expected), rel=1e-5)


def test_both_learned_temperatures_divide_their_own_side(data: TransferSet) -> None:
    case = Case(data, temperature_source="meta", temperature=2.0, kd_weight=0.5, contrast_weight=0)
    with torch.no_grad():
        case.method.heads["meta"].get_parameter("log_tau_t").fill_(math.log(5.0))
    case.student.eval()
    output = case.student(case.batch)
    expected = 0.5 * kd(output.logits, case.batch.teachers["audio"].logits, 2.0, teacher_temperature=5.0)
    assert item(case.method.loss(output, case.batch, 0.0))["kd"] == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ({}, {"ce", "contrast", "kd"}),
        ({"kd_weight": 0}, {"ce", "contrast"}),
        ({"contrast_weight": 0}, {"ce", "kd"}),
        ({"contrast_weight": 0, "kd_weight": 0}, {"ce"}),
        ({"terms": {"dkd": {"enabled": True}}}, {"ce", "contrast", "kd", "term_dkd"}),
    ],
)
def test_a_weight_of_0_takes_its_term_out(data: TransferSet, method: dict[str, Any], names: set[str]) -> None:
    case = Case(data, **method)
    assert set(case.method.loss(case.student(case.batch), case.batch, 0.5)) == names


@pytest.mark.parametrize("source", ["ctkd_global", "ctkd_instance"])
def test_ctkd_descends_towards_more_distillation(data: TransferSet, source: str) -> None:
    """A step of descent along the reversed gradient raises KD; at the start of training there is none."""
    case = Case(data, torch.float64, temperature_source=source, meta={"enabled": False})
    case.student.eval()
    output = case.student(case.batch)
    for progress, moves in ((0.0, False), (0.1, True), (1.0, True)):
        case.method.heads.zero_grad()
        before = case.method.loss(output, case.batch, progress)["kd"]
        before.backward(retain_graph=True)  # type: ignore[no-untyped-call]
        own = list(case.method.heads["ctkd"].parameters())
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in own]
        assert any(bool(g.any()) for g in gradients) == moves
        with torch.no_grad():
            for p, g in zip(own, gradients, strict=True):
                p.sub_(1e-2 * g)
        after = case.method.loss(output, case.batch, progress)["kd"]
        assert (after > before).item() == moves


def test_ctkd_turns_the_gradient_further_round_as_training_goes_on(data: TransferSet) -> None:
    case = Case(data, kd_weight=0.5, ctkd={"grow": 0.5}, meta={"enabled": False})
    output = case.student(case.batch)
    found = []
    for progress in (0.25, 0.5, 1.0):
        kd_term = case.method.loss(output, case.batch, progress)["kd"]
        w = case.method.heads["ctkd"].get_parameter("w")
        found.append(float(torch.autograd.grad(kd_term, w, retain_graph=True)[0]))
    assert found[1] == found[2] and found[0] == pytest.approx(found[1] / 2, rel=1e-5)


def test_the_instance_temperature_teaches_no_student(data: TransferSet) -> None:
    case = Case(data, temperature_source="ctkd_instance", meta={"enabled": False})
    network = case.method.heads["ctkd"]
    torch.nn.init.normal_(network.get_parameter("outer.weight"))
    output = case.student(case.batch)
    tau = network(output.logits, case.batch.teachers["audio"].logits, 1.0)
    assert tau.shape == (12,) and float(tau.detach().std()) > 0.01
    assert torch.autograd.grad(tau.sum(), output.logits, allow_unused=True)[0] is None


def test_a_meta_step_leaves_no_trace_but_what_it_learns(data: TransferSet) -> None:
    case = Case(data, terms={"crd": {"enabled": True}}, teacher="live")
    kept = {n: p.detach().clone() for n, p in case.student.named_parameters()}
    buffers = {n: b.clone() for n, b in case.method.heads.named_buffers()}
    phi = case.method.heads["meta"].fixed()  # type: ignore[operator]
    before = {n: p.clone() for n, p in phi.items()}
    random = torch.get_rng_state()
    case.method.before_step(case.step(1e-3))
    assert torch.equal(torch.get_rng_state(), random) and all(m.training for m in case.student.modules())
    assert all(torch.equal(p, kept[n]) and p.grad is None for n, p in case.student.named_parameters())
    found = {n: b.nan_to_num() for n, b in case.method.heads.named_buffers()}
    assert found and all(torch.equal(b, buffers[n].nan_to_num()) for n, b in found.items())
    assert all(p.grad is None for p in case.method.heads.parameters())
    assert all(not torch.equal(p, before[n]) for n, p in phi.items())


def test_the_students_step_never_touches_what_the_meta_step_learns(data: TransferSet) -> None:
    case = Case(data, temperature_source="meta", teacher="live")
    case.loss().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is None for p in case.method.heads["meta"].parameters())
    assert sum(p.grad is not None for p in case.student.parameters()) > 0


def test_meta_steps_come_every_so_many(data: TransferSet) -> None:
    case = Case(data, meta={"every": 3})
    seen = []
    for _ in range(7):
        case.method.before_step(case.step(1e-3))
        seen.append(case.method.values(0.5)["alpha"])
    changes = [a != b for a, b in zip([0.5, *seen], seen, strict=False)]
    assert changes == [True, False, False, True, False, False, True]


def test_a_meta_step_lowers_the_held_out_loss_that_it_looks_at(data: TransferSet) -> None:
    """The teacher is right and the labels are wrong: learning more of it pays, until alpha is at its end."""
    meta = {"learning_rate": 0.1, "parameters": "all", "every": 1}
    case = Case(data, temperature_source="schedule", temperature=1.0, meta=meta)
    truth = torch.nn.functional.one_hot(case.batch.labels, 7) * 12.0
    noise = replace(case.batch, labels=(case.batch.labels + 3) % 7)
    case.batch = replace(noise, teachers={"audio": replace(noise.teachers["audio"], logits=truth)})
    case.quiz = replace(case.batch, labels=truth.argmax(dim=1))
    for _ in range(60):
        case.method.before_step(case.step(0.1))
    assert case.method.values(0.5)["alpha"] == pytest.approx(0.95)


def test_what_is_learned_stays_in_its_range(data: TransferSet) -> None:
    case = Case(data, temperature_source="meta", meta={"learning_rate": 3.0, "every": 1})
    ends = set()
    for _ in range(12):
        case.method.before_step(case.step(0.1))
        values = case.method.values(0.5)
        assert min(values["tau_s"], values["tau_t"]) >= 0.5 - 1e-6
        assert max(values["tau_s"], values["tau_t"]) <= 20 + 1e-4
        assert 0.05 - 1e-6 <= values["alpha"] <= 0.95 + 1e-6
        ends |= {round(values["alpha"], 4)}
    assert ends & {0.05, 0.95}


@pytest.mark.parametrize(
    ("method", "moving"),
    [
        ({}, {"alpha", "lambda_sc", "tau_s", "tau_t"}),
        ({"temperature_source": "meta"}, {"alpha", "lambda_sc", "tau_s", "tau_t"}),
        ({"temperature_source": "meta", "learned": []}, {"tau_s", "tau_t"}),
        ({"temperature_source": "schedule", "learned": ["kd_weight"]}, {"alpha"}),
        ({"temperature_source": "meta", "meta": {"enabled": False}}, set()),
        ({"temperature_source": "ctkd_instance", "learned": []}, {"tau_s", "tau_t", "tau_deviation"}),
    ],
)
def test_curves_of_what_is_learned(data: TransferSet, method: dict[str, Any], moving: set[str]) -> None:
    curves = train(meta_run(**method), data, ListReporter(), threads=1).curves
    names = {"alpha", "lambda_sc", "tau_s", "tau_t"} | (moving & {"tau_deviation"})
    assert all(names <= set(epoch) and all(math.isfinite(epoch[n]) for n in names) for epoch in curves)
    assert {n for n in names if len({epoch[n] for epoch in curves}) > 1} == moving


def test_a_live_teacher_moves_and_a_stored_one_does_not(data: TransferSet) -> None:
    live = train(meta_run(teacher="live"), data, ListReporter(), threads=1).curves
    assert [c["teacher_correction"] > 0 for c in live] == [True] * 3
    assert "teacher_correction" not in train(meta_run(), data, ListReporter(), threads=1).curves[0]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[int]]]:
    """The rows that real steps learn from, and those by which the meta step is judged."""
    seen: dict[str, list[int]] = {"trained": [], "quiz": []}
    own, labelled = MetaKnowledgeMethod.own, MetaKnowledgeMethod.labelled

    def noting(
        self: MetaKnowledgeMethod, output: StudentOutput, batch: Batch, progress: float
    ) -> dict[str, Tensor]:
        seen["trained"] += batch.index.tolist()
        return own(self, output, batch, progress)

    def noting_all(self: MetaKnowledgeMethod, logits: Tensor, batch: Batch) -> Tensor:
        seen["quiz"] += batch.index.tolist()
        return labelled(self, logits, batch)

    monkeypatch.setattr(MetaKnowledgeMethod, "own", noting)
    monkeypatch.setattr(MetaKnowledgeMethod, "labelled", noting_all)
    yield seen


@pytest.mark.parametrize("curriculum", [{"type": "none"}, {"type": "teacher_nll", "start_fraction": 0.5}])
def test_held_out_rows_are_of_train_and_never_learned_from(
    data: TransferSet, read: dict[str, list[int]], curriculum: dict[str, Any]
) -> None:
    train(meta_run(curriculum=curriculum, meta={"held_out": 0.1, "every": 1}), data, ListReporter(), threads=1)
    rows, trained = set(data.rows("train", ("audio",)).tolist()), set(read["trained"])
    held = set(read["quiz"]) - trained
    assert held and held | trained == rows and len(held) == pytest.approx(0.1 * len(rows), abs=7)
    # Every held-out row was judged by about as often.
    counts = [read["quiz"].count(row) for row in held]
    assert min(counts) > 0 and set(data.label[sorted(trained)]) == set(range(7))


def test_without_a_meta_step_nothing_is_held_out(data: TransferSet, read: dict[str, list[int]]) -> None:
    settings: list[dict[str, Any]] = [
        {"meta": {"enabled": False}},
        {"learned": []},
        {"kd_weight": 0, "contrast_weight": 0},
    ]
    for method in settings:
        read["trained"].clear()
        train(meta_run({"epochs": 1}, **method), data, ListReporter(), threads=1)
        assert set(read["trained"]) == set(data.rows("train", ("audio",)).tolist())


RESUMED: list[dict[str, Any]] = [
    {"meta": {"every": 4}},
    {"temperature_source": "meta", "teacher": "live", "curriculum": {"type": "teacher_nll"}, "meta": {"every": 3}},
    {"temperature_source": "ctkd_instance", "weighting": "homoscedastic", "meta": {"gradient": "first_order"}},
    {"terms": {"crd": {"enabled": True}, "supcon": {"enabled": True}}},
]


def same(a: TrainResult, b: TrainResult) -> bool:
    states = all(torch.equal(a.student_state[k], v) for k, v in b.student_state.items())
    return states and without_seconds(a.curves) == without_seconds(b.curves)


@pytest.mark.parametrize("method", RESUMED, ids=range(len(RESUMED)))
def test_a_run_resumed_has_the_bits_of_one_never_cut(
    data: TransferSet, tmp_path: Path, method: dict[str, Any]
) -> None:
    run = meta_run({"epochs": 4, "learning_rate": 0.005}, **method)
    whole = train(run, data, ListReporter(), threads=1)
    assert same(train(run, data, ListReporter(), threads=1), whole)
    for cut in (1, 3):
        kept = tmp_path / f"kept-{cut}"
        train(run, data, KeepingReporter(kept=kept, stop_after=cut), threads=1)
        assert same(train(run, data, KeepingReporter(kept=kept), threads=1), whole)


@pytest.mark.parametrize("method", [{}, {"temperature_source": "meta", "meta": {"gradient": "first_order"}}])
def test_it_learns(data: TransferSet, method: dict[str, Any]) -> None:
    result = train(meta_run({"epochs": 25, "learning_rate": 5e-3}, **method), data, ListReporter(), threads=1)
    assert result.score > 0.8 > 2 * result.curves[0]["dev/weighted_f1"]


def test_another_seed_holds_out_the_same_rows(data: TransferSet) -> None:
    held = [Case(data, seed=seed).method.held_out for seed in (0, 1)]
    assert held[0] is not None and held[1] is not None
    np.testing.assert_array_equal(held[0], held[1])


@pytest.mark.parametrize(
    ("method", "needs"),
    [
        ({}, Needs(logits=True)),
        ({"kd_weight": 0}, Needs()),
        ({"teacher": "live"}, Needs(logits=True, best_pooled=True)),
        ({"teacher": "live", "meta": {"enabled": False}}, Needs(logits=True)),
        ({"teacher": "live", "kd_weight": 0}, Needs()),
        ({"curriculum": {"type": "rater_disagreement"}}, Needs(logits=True, votes=True)),
        ({"kd_weight": 0, "curriculum": {"type": "teacher_nll"}}, Needs(logits=True)),
    ],
)
def test_needs_follow_what_is_used(method: dict[str, Any], needs: Needs) -> None:
    run = meta_run(**method)
    assert needs_of(run) == needs | Needs(one_label=True)
    assert teachers_needed(run) == (("audio",) if needs.logits else ())


LINEAR = {"shape": "linear", "start": 0.5, "end": 0.1}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"learned": ["temperature"]}, r"CTKD takes the temperature and the meta step learned: \[kd_weight, contr"),
        ({"learned": ["temperature"], "temperature_source": "schedule"}, "set the latter to meta"),
        ({"temperature": {"shape": "linear", "start": 4, "end": 1}}, "ctkd_global follows no schedule; set temp"),
        (
            {"temperature_source": "meta", "temperature": 30},
            r"temperature 30.0: learned, it stays within \[0.5, 20",
        ),
        ({"temperature_source": "meta", "soft_loss": "mse"}, "learns two; use soft_loss: kl"),
        ({"learned": ["kd_weight", "kd_weight"]}, "name each at most once"),
        ({"kd_weight": 1.5}, r"within \[0, 1\]"),
        ({"kd_weight": 0.97}, r"kd_weight 0.97: learned, it stays within \[0.05, 0.95\]; start there, or take"),
        (
            {"kd_weight": LINEAR},
            "kd_weight.shape linear: the meta step learns it from `start`; set shape: constant",
        ),
        ({"contrast_weight": LINEAR}, "contrast_weight.shape linear: .* or take contrast_weight out of learned"),
        ({"meta": {"held_out": 0.3}}, "less than or equal to 0.1"),
    ],
)
def test_what_cannot_be_says_what_to_use_instead(method: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        meta_run(**method)


@pytest.mark.parametrize(
    "method",
    [
        {"learned": ["temperature", "kd_weight"], "temperature_source": "meta"},
        {"kd_weight": LINEAR, "learned": ["contrast_weight"]},
        {"kd_weight": LINEAR, "meta": {"enabled": False}},
        {"kd_weight": 1, "learned": []},
    ],
)
def test_what_can_be(method: dict[str, Any]) -> None:
    assert meta_run(**method).method.single_worker


def test_it_is_trained_by_one_worker(data: TransferSet, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match=r"resources.trial.workers 2: method meta_knowledge .* leave it at 1"):
        ExperimentSpec(name="a", claim="b", run=meta_run(), resources=Resources(trial=TrialResources(workers=2)))
    monkeypatch.setattr(World, "current", lambda: World(0, 2))
    with pytest.raises(SpecError, match="meta_knowledge must see its whole batch in one process"):
        train(meta_run(), data, ListReporter(), threads=1)
