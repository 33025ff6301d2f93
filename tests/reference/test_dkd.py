"""Decoupled KD against numbers worked by hand, its published decomposition of KD, and a plain loop."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import Tensor

from trainables.losses.distillation import dkd, kd

LABELS = torch.tensor([0, 2, 2, 4, 0])  # of five classes, 1 and 3 are absent


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def logits(seed: int, rows: int = 5, classes: int = 5) -> Tensor:
    return 3 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * log(a / b) for a, b in zip(p, q, strict=True))


def naive(student: list[float], teacher: list[float], label: int, tau: float) -> tuple[float, float]:
    """The two parts of one sample, each by its definition."""
    parts = []
    for row in (teacher, student):
        exps = [exp(x / tau) for x in row]
        rest = [e for c, e in enumerate(exps) if c != label]
        parts.append(([exps[label] / sum(exps), sum(rest) / sum(exps)], [e / sum(rest) for e in rest]))
    (t_target, t_rest), (s_target, s_rest) = parts
    return tau**2 * divergence(t_target, s_target), tau**2 * divergence(t_rest, s_rest)


# Teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3).
# Label 0: 1/2 log(3/2) + 1/2 log(3/4) = 0.0588915; the others are (1/2, 1/2) on both sides: 0.
# Label 1: 1/4 log(3/4) + 3/4 log(9/8) = 0.0164170; others (2/3, 1/3) to (1/2, 1/2): 0.0566330.
@pytest.mark.parametrize(("label", "target", "others"), [(0, 0.0588915, 0.0), (1, 0.0164170, 0.0566330)])
@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_by_hand(label: int, target: float, others: float, tau: float) -> None:
    teacher = tau * double([[log(2), 0.0, 0.0]])
    for alpha, beta in ((1.0, 0.0), (0.0, 1.0), (1.0, 8.0)):
        loss = dkd(double([[0.0] * 3]), teacher, torch.tensor([label]), tau, alpha=alpha, beta=beta)
        assert loss.item() == pytest.approx(tau**2 * (alpha * target + beta * others), abs=1e-5)


def test_defaults_are_the_published_ones() -> None:
    student, teacher = logits(1), logits(2)
    assert torch.equal(dkd(student, teacher, LABELS, 4.0), dkd(student, teacher, LABELS, 4.0, alpha=1, beta=8))


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_against_the_loop(tau: float) -> None:
    student, teacher = logits(1), logits(2)
    rows = zip(student.tolist(), teacher.tolist(), LABELS.tolist(), strict=True)
    parts = [naive(s, t, y, tau) for s, t, y in rows]
    expected = sum(0.7 * target + 2.5 * others for target, others in parts) / 5
    assert dkd(student, teacher, LABELS, tau, alpha=0.7, beta=2.5).item() == pytest.approx(expected, rel=1e-10)


def test_it_decomposes_kd() -> None:
    # Zhao et al., equation 7: KD = TCKD + (1 - p_label of the teacher) NCKD, sample by sample.
    student, teacher, tau = logits(3), logits(4), 2.0
    for i, label in enumerate(LABELS.tolist()):
        row = student[[i]], teacher[[i]], LABELS[[i]]
        rest = 1 - (teacher[i] / tau).softmax(dim=0)[label]
        parts = dkd(*row, tau, alpha=1.0, beta=0.0) + rest * dkd(*row, tau, alpha=0.0, beta=1.0)
        assert parts.item() == pytest.approx(kd(row[0], row[1], tau).item(), rel=1e-10)


def test_two_classes_have_no_others() -> None:
    student, teacher, labels = logits(1, 4, 2), logits(2, 4, 2), torch.tensor([0, 1, 1, 0])
    assert dkd(student, teacher, labels, 2.0, alpha=0.0, beta=8.0).item() == 0
    assert dkd(student, teacher, labels, 2.0).item() == pytest.approx(kd(student, teacher, 2.0).item(), rel=1e-12)


def test_a_sample_of_weight_0_has_no_say() -> None:
    student, teacher = logits(1).requires_grad_(), logits(2)
    loss = dkd(student, teacher, LABELS, 2.0, weights=double([1.0, 0.0, 1.0, 0.5, 1.0]))
    (gradient,) = torch.autograd.grad(loss, student)
    alone = [dkd(student[[i]], teacher[[i]], LABELS[[i]], 2.0).item() for i in range(5)]
    assert loss.item() == pytest.approx((alone[0] + alone[2] + alone[3] / 2 + alone[4]) / 5, rel=1e-12)
    assert gradient.abs().sum(dim=1).bool().tolist() == [True, False, True, True, True]


def test_gradients() -> None:
    student, teacher = logits(1).requires_grad_(), logits(2).requires_grad_()
    for tau in (double(1.5), double([1.0, 2.0, 3.0, 1.5, 0.8])):
        inputs = (student, tau.requires_grad_())
        assert torch.autograd.gradcheck(lambda s, t: dkd(s, teacher.detach(), LABELS, t), inputs)
        assert torch.autograd.gradgradcheck(lambda s, t: dkd(s, teacher.detach(), LABELS, t), inputs)
    assert torch.autograd.grad(dkd(student, teacher, LABELS, 2.0), teacher, allow_unused=True)[0] is None


@pytest.mark.parametrize("label", [0, 1, 2])
def test_extreme_logits_stay_finite(label: int) -> None:
    student = torch.tensor([[1e3, -1e3, 0.0]], requires_grad=True)
    loss = dkd(student, torch.tensor([[-1e3, 0.0, 1e3]]), torch.tensor([label]), 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() > 100
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_a_certain_label_keeps_the_digits_of_the_rest() -> None:
    # float32: p_label rounds to 1 on both sides, yet 1 - p_label is e^-30 against e^-20 and the rest is known.
    # Label part: p_rest (log p_rest^T - log p_rest^S) is below 1e-8; others (1/2, 1/2) to (3/4, 1/4):
    # 1/2 log(2/3) + 1/2 log 2 = 0.1438410.
    student, teacher = torch.tensor([[20.0, log(3), 0.0]]), torch.tensor([[30.0, 0.0, 0.0]])
    loss = dkd(student, teacher, torch.tensor([0]), 1.0, beta=1.0)
    assert loss.item() == pytest.approx(0.1438410, abs=1e-6)
