"""S5's loss, its stages, and what falls away with one modality."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError

from tests.helpers.runs import KeepingReporter, without_seconds
from tests.helpers.students import run_of
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher
from trainables.method import Setting, Step
from trainables.methods.contrastive_regularisation import ContrastiveRegularisationMethod
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec.demands import needs_of, teachers_needed, unmet
from trainables.spec.method import ContrastiveRegularisation
from trainables.students import Student, StudentOutput, build_student
from trainables.transfer_set import TransferSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), frames=True, segments=True)


class Case:
    """A method, a student in evaluation, and one batch."""

    def __init__(self, data: TransferSet, student: dict[str, Any] | None = None, **method: Any) -> None:
        spec = {"type": "contrastive_regularisation", **method}
        self.run = run_of(student or {"type": "cnn_lstm"}, spec)
        self.student: Student = build_student(self.run.student, data, 0).eval()
        rows = data.rows("train", self.run.student.modalities)
        torch.manual_seed(0)
        self.method = ContrastiveRegularisationMethod(Setting(self.run, data, rows, self.student.widths))
        batcher = Batcher(data, self.student.spec, needs_of(self.run), teachers_needed(self.run))
        self.batch: Batch = batcher.batch(rows[:16])
        self.output: StudentOutput = self.student(self.batch)
        self.ce = float(F.cross_entropy(self.output.logits, self.batch.labels).detach())

    def terms(self, progress: float) -> dict[str, float]:
        found = self.method.loss(self.output, self.batch, progress)
        return {name: float(value.detach()) for name, value in found.items()}


def test_alpha_shares_out_labels_and_regulariser(data: TransferSet) -> None:
    case = Case(data, alpha={"shape": "linear", "start": 0.0, "end": 1.0})
    start, half, end = (case.terms(p) for p in (0.0, 0.5, 1.0))
    assert set(start) == set(half) == {"ce", "regulariser"}
    assert (start["ce"], half["ce"], end["ce"]) == pytest.approx((case.ce, case.ce / 2, 0.0))
    assert start["regulariser"] == 0.0
    # An untrained discriminator knows nothing: two halves of log 2 each.
    assert half["regulariser"] == pytest.approx(0.5 * 1.386, rel=0.1)
    assert [case.method.values(p)["alpha"] for p in (0.0, 0.5, 1.0)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_with_one_modality_it_is_cross_entropy(data: TransferSet, modality: str) -> None:
    student = {"type": "cnn_lstm", "modalities": [modality]}
    case = Case(data, student, alpha=0.7, stages="three")
    for progress in (0.0, 0.3, 1.0):
        assert case.terms(progress) == {"ce": pytest.approx(case.ce)}
        assert case.method.phase(progress) == "classification"
    assert not case.method.heads["terms"].state_dict() and set(case.method.heads) == {"terms"}
    ours = train(case.run, data, ListReporter(), threads=1)
    plain = train(run_of(student, {"type": "supervised"}), data, ListReporter(), threads=1)
    assert all(torch.equal(ours.student_state[k], v) for k, v in plain.student_state.items())


def test_without_alpha_the_student_is_the_controls(data: TransferSet) -> None:
    ours = train(Case(data, alpha=0).run, data, ListReporter(), threads=1)
    plain = train(run_of({"type": "cnn_lstm"}, {"type": "supervised"}), data, ListReporter(), threads=1)
    assert all(torch.equal(ours.student_state[k], v) for k, v in plain.student_state.items())
    assert not needs_of(Case(data, alpha=0).run).both


def test_it_needs_no_teacher(data: TransferSet) -> None:
    run = Case(data).run
    assert not needs_of(run).of_teachers
    assert teachers_needed(run) == ()
    assert unmet(run) == ""
    alone = run_of({"type": "cnn_lstm", "modalities": ["text"]}, {"type": "contrastive_regularisation"})
    assert "pairs audio with text" in unmet(alone)


def test_every_modality_of_the_first_stage_is_weighed(tmp_path: Path) -> None:
    modalities = ("audio", "text", "visual")
    data = synthetic(tmp_path, modalities=modalities)
    method = {"type": "contrastive_regularisation", "stages": "three", "weighting": "homoscedastic"}
    student = {"type": "cross_modal_transformer", "modalities": modalities}
    run = run_of(student, method, corpus={"type": "standin", "modalities": modalities})
    assert unmet(run) == ""
    curves = train(run, data, ListReporter(), threads=1).curves
    assert {f"log_variance/ce_{m}" for m in modalities} <= set(curves[0])


def test_three_stages_in_order(data: TransferSet) -> None:
    case = Case(data, stages="three", before=0.5)
    unimodal, both, regular = (case.terms(p) for p in (0.0, 0.25, 0.5))
    assert set(unimodal) == {"ce_audio", "ce_text"}
    assert both == {"ce": pytest.approx(case.ce)}
    assert set(regular) == {"ce", "regulariser"}
    phases = [case.method.phase(p) for p in (0.0, 0.49, 0.5, 1.0)]
    assert phases == ["representation", "representation", "classification", "classification"]


@pytest.mark.parametrize(("epochs", "before"), [(9, 0.5), (10, 0.5), (12, 0.3), (1, 0.5), (2, 0.9)])
def test_silent_epochs_are_those_whose_score_does_not_count(data: TransferSet, epochs: int, before: float) -> None:
    case = Case(data, stages="three", before=before)
    each = [epoch / (epochs - 1) if epochs > 1 else 1.0 for epoch in range(epochs)]
    silent = [case.method.phase(progress) for progress in each].count("representation")
    assert isinstance(case.run.method, ContrastiveRegularisation)
    assert case.run.method.silent_epochs(epochs) == silent < epochs


def test_the_first_stage_leaves_the_classifier_alone_and_teaches_both_encoders(data: TransferSet) -> None:
    case = Case(data, stages="three")
    torch.stack(list(case.method.loss(case.output, case.batch, 0.0).values())).sum().backward()  # type: ignore[no-untyped-call]
    grads = {name: p.grad for name, p in case.student.named_parameters()}
    assert all(g is None for name, g in grads.items() if name.startswith("classifier"))
    for part in ("audio", "text"):
        assert all(g is not None and bool(g.any()) for name, g in grads.items() if name.startswith(f"{part}.conv"))
    assert all(g is not None for name, g in grads.items() if not name.startswith("classifier"))


def test_the_third_stage_starts_with_a_fresh_classifier_once(data: TransferSet) -> None:
    case = Case(data, stages="three")

    def weights_after(progress: float) -> tuple[torch.Tensor, torch.Tensor]:
        case.method.before_step(Step(case.student, case.batch, progress, 1e-3, lambda: case.batch))
        state = {k: v.clone() for k, v in case.student.state_dict().items()}
        return state["classifier.weight"], state["audio.convolutions.0.weight"]

    first, encoder = weights_after(0.4)
    fresh, same_encoder = weights_after(0.5)
    assert not torch.equal(first, fresh) and torch.equal(encoder, same_encoder)
    assert torch.equal(weights_after(0.6)[0], fresh)


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_a_run_in_stages_resumes_with_the_same_bits(data: TransferSet, tmp_path: Path, cut: int) -> None:
    """Cut in each stage, and just before and after the classifier is renewed."""
    method = {"type": "contrastive_regularisation", "stages": "three"}
    run = run_of({"type": "cnn_lstm"}, method, training={"epochs": 5})
    whole = train(run, data, ListReporter(), threads=1)
    train(run, data, KeepingReporter(kept=tmp_path / "kept", stop_after=cut), threads=1)
    resumed = train(run, data, KeepingReporter(kept=tmp_path / "kept"), threads=1)
    assert [c["phase"] for c in whole.curves] == [0, 0, 1, 1, 1]
    assert without_seconds(resumed.curves) == without_seconds(whole.curves)
    assert all(torch.equal(resumed.student_state[k], v) for k, v in whole.student_state.items())


@pytest.mark.parametrize("name", ["audio_text_transformer", "cnn_lstm"])
def test_a_renewed_classifier_depends_on_the_seed_alone(data: TransferSet, name: str) -> None:
    run = run_of({"type": name}, {"type": "supervised"})
    before = torch.get_rng_state()
    states = []
    for build, seed in ((0, 5), (0, 6), (1, 5)):
        student = build_student(run.student, data, build)
        student.renew_classifier(seed)
        states.append({k: v for k, v in student.state_dict().items() if k.startswith("classifier")})
    assert torch.equal(torch.get_rng_state(), before)
    assert states[0]
    for key, value in states[0].items():
        assert torch.equal(value, states[2][key])
        assert not torch.equal(value, states[1][key])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"alpha": 1.1}, "alpha above 1"),
        ({"alpha": {"shape": "linear", "start": 0.1, "end": 2}}, "alpha above 1"),
        ({"terms": {"pairs": {"enabled": True}}}, "this method's own regulariser"),
        ({"weighting": "homoscedastic", "regulariser": {"estimator": "mine"}}, "regulariser.estimator mine"),
        ({"stages": "three", "before": 1}, "less than 1"),
    ],
)
def test_what_makes_no_sense_is_refused(method: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        run_of({"type": "cnn_lstm"}, {"type": "contrastive_regularisation", **method})


def test_a_bound_without_a_bottom_takes_no_learned_weight() -> None:
    terms = {"pairs": {"enabled": True, "estimator": "mine"}}
    with pytest.raises(ValidationError, match=r"terms\.pairs\.estimator mine"):
        run_of({}, {"type": "cmd", "weighting": "homoscedastic", "terms": terms})


def test_the_regulariser_beside_another_method(data: TransferSet) -> None:
    terms = {"pairs": {"enabled": True, "weight": 0.3}}
    result = train(run_of({}, {"type": "cmd", "phases": "joint", "terms": terms}), data, ListReporter(), threads=1)
    assert all("loss/term_pairs" in curve and "loss/contrast_self" in curve for curve in result.curves)
