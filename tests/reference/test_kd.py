"""Distillation of logits against numbers worked by hand and the bare definition."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from trainables.losses.distillation import kd


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_two_classes_by_hand() -> None:
    # tau = 2 halves the logits: teacher softmax(log 3, 0) = (3/4, 1/4), student softmax(0, 0) = (1/2, 1/2).
    # KL = 3/4 log(3/2) + 1/4 log(1/2) = 0.1308120; times tau^2 = 4: 0.5232481.
    loss = kd(double([[0.0, 0.0]]), double([[2 * log(3), 0.0]]), temperature=2.0)
    assert loss.item() == pytest.approx(4 * (0.75 * log(1.5) + 0.25 * log(0.5)), abs=1e-12)
    assert loss.item() == pytest.approx(0.5232481, abs=1e-7)


def test_it_is_a_mean_over_the_batch_and_a_sum_over_classes() -> None:
    # Row 1 as above at tau = 1: 0.1308120; row 2 agrees with its teacher: 0. Mean: 0.0654060.
    loss = kd(double([[0.0, 0.0], [5.0, 1.0]]), double([[log(3), 0.0], [5.0, 1.0]]), temperature=1.0)
    assert loss.item() == pytest.approx(0.1308120 / 2, abs=1e-7)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 4.0, 8.0])
def test_against_the_definition(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = (torch.randn(5, 7, generator=generator, dtype=torch.float64) * 3 for _ in range(2))
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [exp(x / temperature) for x in t]
        q = [exp(x / temperature) for x in s]
        for a, b in zip(p, q, strict=True):
            total += a / sum(p) * log((a / sum(p)) / (b / sum(q)))
    assert kd(student, teacher, temperature).item() == pytest.approx(temperature**2 * total / 5, rel=1e-10)


@pytest.mark.parametrize(
    ("weights", "share"), [((1.0, 1.0), 1.0), ((0.5, 0.5), 0.5), ((1.0, 0.0), 0.5), ((0.0, 0.0), 0.0)]
)
def test_weights_scale_their_samples(weights: tuple[float, float], share: float) -> None:
    # Both rows have the same divergence, so the loss is its share: the sum of w over the batch of 2.
    student, teacher = double([[0.0, 0.0]] * 2), double([[log(3), 0.0]] * 2)
    full = kd(student, teacher, 1.0)
    assert kd(student, teacher, 1.0, double(weights)).item() == pytest.approx(share * full.item(), abs=1e-12)


def test_the_gradient_keeps_its_size_at_high_temperature() -> None:
    # Hinton et al.: for tau -> infinity and logits of zero mean, the gradient of a sample tends to (z_s - z_t) / C.
    student = double([[1.0, -1.0, 0.0]]).requires_grad_()
    (gradient,) = torch.autograd.grad(kd(student, double([[-1.0, 0.0, 1.0]]), temperature=1e4), student)
    assert gradient[0].tolist() == pytest.approx([2 / 3, -1 / 3, -1 / 3], abs=1e-3)


def test_the_teacher_gets_no_gradient_and_the_student_the_right_one() -> None:
    student = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    weights = double([1.0, 0.2, 0.0, 0.7])
    assert torch.autograd.gradcheck(lambda s: kd(s, teacher.detach(), 2.5, weights), (student,))
    assert torch.autograd.grad(kd(student, teacher, 2.0), teacher, allow_unused=True)[0] is None


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = kd(student, torch.tensor([[-200.0, 200.0]]), temperature=0.5)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_two_temperatures_by_hand() -> None:
    # The teacher at tau_t = 3: softmax(log 3, 0) = (3/4, 1/4); the student at tau_s = 2: softmax(0, log 2) =
    # (1/3, 2/3). KL = 3/4 log(9/4) + 1/4 log(3/8) = 0.3629904; times tau_s tau_t = 6.
    student, teacher = double([[0.0, 2 * log(2)]]), double([[3 * log(3), 0.0]])
    loss = kd(student, teacher, 2.0, teacher_temperature=3.0)
    assert loss.item() == pytest.approx(6 * (0.75 * log(9 / 4) + 0.25 * log(3 / 8)), abs=1e-12)
    assert loss.item() == pytest.approx(6 * 0.3629904, abs=1e-6)


def test_a_temperature_a_sample_is_that_samples_own() -> None:
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randn(3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    taus, of_teacher = [0.5, 2.0, 7.0], [1.0, 3.0, 2.0]
    alone = [kd(student[[i]], teacher[[i]], taus[i], teacher_temperature=of_teacher[i]).item() for i in range(3)]
    loss = kd(student, teacher, double(taus), double([1.0, 0.0, 2.0]), double(of_teacher))
    assert loss.item() == pytest.approx((alone[0] + 2 * alone[2]) / 3, rel=1e-12)


@pytest.mark.parametrize("shape", [(), (4,)])
def test_temperatures_learn(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(7)
    student, teacher = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    taus = [torch.rand(shape, generator=generator, dtype=torch.float64) + 1 for _ in range(2)]
    inputs = (student.requires_grad_(), *(tau.requires_grad_() for tau in taus))
    assert torch.autograd.gradcheck(lambda s, a, b: kd(s, teacher, a, teacher_temperature=b), inputs)
    assert torch.autograd.gradcheck(lambda s, a: kd(s, teacher, a), inputs[:2])
    assert torch.autograd.gradgradcheck(lambda s, a: kd(s, teacher, a), inputs[:2])
