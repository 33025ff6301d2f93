"""Every distillation term keeps its contract beside any student, and is the pure loss on the right tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.helpers.runs import KeepingReporter, without_seconds
from tests.helpers.students import SMALL, TermCase, run_of, term_case
from tests.helpers.transfer_sets import synthetic
from trainables.losses.attention import attention_transfer
from trainables.losses.contrastive import info_nce, sup_con
from trainables.losses.distillation import dist, dkd, kd
from trainables.losses.hint import hint
from trainables.losses.pairs import bce, label_pairs
from trainables.losses.relational import rkd_angle, rkd_distance
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec.demands import unmet
from trainables.spec.terms import Terms
from trainables.students import STUDENTS, StudentOutput
from trainables.terms import TERMS, TermSet
from trainables.transfer_set import TransferSet

NAMES = list(Terms.model_fields)
MODALITIES = [("audio", "text"), ("audio",), ("text",)]
SILENT = {("attention", "cnn_lstm"), ("attention", "inverted_transformer"), ("attention", "multi_level_fusion")}
"""Terms that can never say anything of a student."""
CASES = [
    (name, student, modalities)
    for name in NAMES
    for student in STUDENTS
    for modalities in MODALITIES
    if student != "inverted_transformer" or modalities == ("audio",)
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    folder = tmp_path_factory.mktemp("data")
    return synthetic(folder, attention=True, frames=True, segments=True, votes=True)


def test_every_term_has_its_runtime_and_every_student_its_small_spec() -> None:
    assert set(TERMS) == set(NAMES)
    assert set(STUDENTS) <= set(SMALL)


@pytest.mark.parametrize(("name", "student", "modalities"), CASES)
def test_a_term_is_finite_and_teaches_the_student(
    data: TransferSet, name: str, student: str, modalities: tuple[str, ...]
) -> None:
    case = term_case(name, data, {"type": student, "modalities": modalities})
    value = case.value(case.output())
    assert value.shape == () and torch.isfinite(value)
    value.backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in case.student.parameters() if p.grad is not None]
    assert gradients and all(torch.isfinite(g).all() for g in gradients)
    moved = sum(float(g.abs().sum()) for g in gradients)
    silent = (name, student) in SILENT or (name == "pairs" and len(modalities) == 1)
    assert (moved == 0) == silent
    assert (float(value.detach()) == 0) == silent
    assert bool(unmet(case.run)) == silent


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_stays_finite(data: TransferSet, name: str) -> None:
    case = term_case(name, data, rows=1)
    value = case.value(case.output())
    value.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(value)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in case.student.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_that_falls_to_nothing_gives_nothing(data: TransferSet, name: str) -> None:
    weight = {"shape": "linear", "start": 2.0, "end": 0.0}
    case = term_case(name, data, weight=weight)
    terms = TermSet(getattr(case.run.method, "terms"), case.setting)  # noqa: B009
    terms.losses[name].load_state_dict(case.term.state_dict())
    output, found = case.output(), {}
    for progress in (0.0, 0.5, 1.0):
        torch.manual_seed(0)
        terms.losses[name].load_state_dict(case.term.state_dict())
        found[progress] = float(terms(output, case.batch, progress)[f"term_{name}"].detach())
    assert found[0.0] == pytest.approx(2 * found[0.5], rel=1e-5)
    assert found[0.5] != 0.0
    assert found[1.0] == 0.0


@pytest.mark.parametrize("weighting", ["fixed", "homoscedastic"])
def test_all_terms_at_once_are_reported_and_summed(data: TransferSet, weighting: str) -> None:
    every = {name: {"enabled": True} for name in NAMES}
    run = run_of({}, {"type": "distil", "terms": every, "weighting": weighting})
    result = train(run, data, ListReporter(), threads=1)
    for curve in result.curves:
        losses = {k.removeprefix("loss/"): v for k, v in curve.items() if k.startswith("loss/")}
        assert set(losses) == {"ce", *(f"term_{name}" for name in NAMES)}
        assert curve["loss"] == pytest.approx(sum(losses.values()))
    learned = [k for k in result.curves[-1] if k.startswith("log_variance/")]
    assert len(learned) == (0 if weighting == "fixed" else len(NAMES) + 2)  # ce and members beside them


def test_what_is_exported_has_no_head_of_any_term(data: TransferSet) -> None:
    every = {name: {"enabled": True} for name in NAMES}
    taught = train(run_of({}, {"type": "distil", "terms": every}), data, ListReporter(), threads=1)
    alone = train(run_of({}, {"type": "supervised"}), data, ListReporter(), threads=1)
    assert set(taught.student_state) == set(alone.student_state)
    assert taught.parameters == alone.parameters


@pytest.mark.parametrize("cut", [1, 2])
def test_a_run_with_a_bank_resumes_with_the_same_bits(data: TransferSet, tmp_path: Path, cut: int) -> None:
    terms = {name: {"enabled": True} for name in ("crd", "pairs", "supcon")}
    run = run_of({"type": "cnn_lstm"}, {"type": "distil", "terms": terms})
    whole = train(run, data, ListReporter(), threads=1)
    train(run, data, KeepingReporter(kept=tmp_path / "kept", stop_after=cut), threads=1)
    resumed = train(run, data, KeepingReporter(kept=tmp_path / "kept"), threads=1)
    assert without_seconds(resumed.curves) == without_seconds(whole.curves)
    assert all(torch.equal(resumed.student_state[k], v) for k, v in whole.student_state.items())


def _kd(case: TermCase, output: StudentOutput) -> Tensor:
    return kd(output.logits, case.batch.teachers["fusion"].logits, 4.0)


def _dkd(case: TermCase, output: StudentOutput) -> Tensor:
    return dkd(output.logits, case.batch.teachers["fusion"].logits, case.batch.labels, 4.0, alpha=1.0, beta=2.0)


def _dist(case: TermCase, output: StudentOutput) -> Tensor:
    return dist(output.logits, case.batch.teachers["fusion"].logits, 4.0)


def _linear(case: TermCase, name: str, x: Tensor) -> Tensor:
    state = case.term.state_dict()
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def _hint(case: TermCase, output: StudentOutput) -> Tensor:
    teachers = case.batch.teachers
    parts = [hint(_linear(case, f"regressors.{m}", x), teachers[m].pooled) for m, x in output.pooled.items()]
    return torch.stack(parts).mean()


def _attention(case: TermCase, output: StudentOutput) -> Tensor:
    audio, text = case.batch.teachers["audio"].attention, case.batch.teachers["text"].attention
    assert audio is not None and text is not None
    own = output.attention
    return (attention_transfer(own["audio"], audio) + attention_transfer(own["text"], text)) / 2


def _rkd(case: TermCase, output: StudentOutput) -> Tensor:
    pair = (output.embedding, case.batch.teachers["fusion"].pooled)
    return 25 * rkd_distance(*pair) + 50 * rkd_angle(*pair)


def _crd(case: TermCase, output: StudentOutput) -> Tensor:
    """The bank's places are those of the train rows in their order."""
    places = torch.from_numpy(np.searchsorted(case.setting.rows, case.batch.index.numpy()))
    u = _linear(case, "student", output.embedding)
    v = _linear(case, "teacher", case.batch.teachers["fusion"].pooled)
    bank: Any = copy.deepcopy(case.term.bank)
    hashes = torch.from_numpy(np.array(case.data.text_hash[case.setting.rows]))
    assert torch.equal(bank.text_hash, hashes) and len(bank.memory_student) == len(case.setting.rows)
    found: Tensor = bank(u, v, places)
    return found


def _supcon(case: TermCase, output: StudentOutput) -> Tensor:
    hidden = _linear(case, "project.0", output.embedding).relu()
    return sup_con(_linear(case, "project.2", hidden), case.batch.labels, 0.1)


def _info_nce(case: TermCase, output: StudentOutput) -> Tensor:
    u = _linear(case, "student", output.embedding)
    v = _linear(case, "teacher", case.batch.teachers["fusion"].pooled)
    texts = case.batch.text_hash
    return info_nce(u, v, 0.1, texts[:, None] != texts[None, :])


def _pairs(case: TermCase, output: StudentOutput) -> Tensor:
    def score(pairs: Tensor) -> Tensor:
        a, t = output.pooled["audio"][pairs[:, 0]], output.pooled["text"][pairs[:, 1]]
        product = _linear(case, "discriminator.audio", a) * _linear(case, "discriminator.text", t)
        hidden = _linear(case, "discriminator.score.0", torch.cat([a, t, product], dim=1)).relu()
        return _linear(case, "discriminator.score.2", hidden)[:, 0]

    same, different = label_pairs(case.batch.labels, len(case.batch))
    return bce(score(same), score(different))


PURE: dict[str, Callable[[TermCase, StudentOutput], Tensor]] = {
    "kd": _kd, "dkd": _dkd, "dist": _dist, "hint": _hint, "attention": _attention, "rkd": _rkd, "crd": _crd,
    "supcon": _supcon, "info_nce": _info_nce, "pairs": _pairs,
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_term_is_the_pure_loss_on_these_tensors(data: TransferSet, name: str) -> None:
    case = term_case(name, data)
    output = case.output()
    torch.manual_seed(3)
    expected = PURE[name](case, output)
    torch.manual_seed(3)
    torch.testing.assert_close(case.value(output), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["kd", "dkd", "dist", "hint", "crd", "supcon"])
def test_terms_of_samples_count_them_by_weight(data: TransferSet, name: str) -> None:
    case = term_case(name, data)
    output = case.output()
    torch.manual_seed(3)
    whole = copy.deepcopy(case.term)(output, case.batch, 0.5)
    case.batch.weights.fill_(0.25)
    torch.manual_seed(3)
    torch.testing.assert_close(case.value(output), 0.25 * whole)


def test_a_modality_without_a_teacher_says_nothing(data: TransferSet) -> None:
    """The hint is then of the other modality alone, and of a student that reads only this one there is none."""
    terms = {"hint": {"enabled": True}}
    teachers = {"audio": None, "fusion": None}
    both = TermCase("hint", run_of({}, {"type": "distil", "terms": terms}, teachers=teachers), data)
    output = both.output()
    wanted = hint(_linear(both, "regressors.text", output.pooled["text"]), both.batch.teachers["text"].pooled)
    torch.testing.assert_close(both.value(output), wanted)
    audio = run_of({"modalities": ["audio"]}, {"type": "distil", "terms": terms}, teachers=teachers)
    alone = TermCase("hint", audio, data)
    assert float(alone.value(alone.output()).detach()) == 0.0
    assert "needs the audio teacher's pooled output" in unmet(audio)


def test_equal_words_are_no_negatives_in_the_bank(data: TransferSet) -> None:
    """Rows 2k and 2k + 1 have one text here: without that, the value would be another."""
    case = term_case("crd", data)
    output, bank = case.output(), case.term.bank
    assert not isinstance(bank, Tensor)
    blind = copy.deepcopy(case.term)
    blind.bank.text_hash = torch.arange(len(case.setting.rows))  # type: ignore[union-attr]
    torch.manual_seed(3)
    masked = float(case.value(output).detach())
    torch.manual_seed(3)
    assert float(blind(output, case.batch, 0.5).detach()) > masked


def test_angles_are_of_a_sample_of_a_large_batch(tmp_path: Path) -> None:
    wide = synthetic(tmp_path, n=500, missing=0)
    case = term_case("rkd", wide, rows=290, distance=0.0)
    output, teacher = case.output(), case.batch.teachers["fusion"].pooled
    assert len(output.embedding) == 290
    expected = 50 * rkd_angle(output.embedding[::3], teacher[::3])
    torch.testing.assert_close(case.value(output), expected)


def test_the_attention_map_of_a_student_without_one_is_told_at_once() -> None:
    run = run_of({"type": "cnn_lstm"}, {"type": "distil", "terms": {"attention": {"enabled": True}}})
    assert "cnn_lstm" in unmet(run) and "audio_text_transformer" in unmet(run)


@pytest.mark.parametrize("negatives", ["label", "shuffle"])
def test_foretelling_picks_among_the_texts_that_differ(data: TransferSet, negatives: str) -> None:
    case = term_case("pairs", data, estimator="info_nce", negatives=negatives)
    output, batch = case.output(), case.batch
    hidden = _linear(case, "foretell.0", output.pooled["audio"]).relu()
    foretold = F.normalize(_linear(case, "foretell.2", hidden), dim=1)
    cosines = foretold @ F.normalize(output.pooled["text"], dim=1).T
    losses = []
    for i in range(len(batch)):
        others = [
            j
            for j in range(len(batch))
            if j != i
            and batch.text_hash[i] != batch.text_hash[j]
            and (negatives == "shuffle" or batch.labels[i] != batch.labels[j])
        ]
        losses.append(torch.logsumexp(cosines[i, [i, *others]], dim=0) - cosines[i, i])
    torch.testing.assert_close(case.value(output), torch.stack(losses).mean())
