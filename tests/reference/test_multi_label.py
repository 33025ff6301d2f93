"""Losses of several labels: by hand, against torch's own, and against the bare definitions."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from trainables.losses.distillation import kd
from trainables.losses.multi_label import (
    binary_cross_entropy,
    binary_cross_entropy_sum,
    binary_kd,
    positive_weights,
)
from trainables.losses.supervised import cross_entropy

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(6, 3, generator=GENERATOR, dtype=torch.float64) * 2
TEACHER = torch.randn(6, 3, generator=GENERATOR, dtype=torch.float64) * 3
TARGETS = torch.tensor([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
WEIGHTS = torch.tensor([1.0, 2.5, 10.0], dtype=torch.float64)
SAMPLES = torch.tensor([1.0, 0.0, 0.3, 0.5, 1.0, 2.0], dtype=torch.float64)


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# sigmoid(log 3) = 3/4 and sigmoid(0) = 1/2. Targets (1, 0): -(log 3/4 + log 1/2) / 2 = (0.2876821 + 0.6931472) / 2.
def test_bce_by_hand() -> None:
    loss = binary_cross_entropy(double([[log(3), 0.0]]), double([[1.0, 0.0]]))
    assert loss.item() == pytest.approx((log(4 / 3) + log(2)) / 2, abs=1e-12)
    assert loss.item() == pytest.approx(0.4904147, abs=1e-7)


def test_a_positive_weight_weighs_the_label_where_it_is_present_alone() -> None:
    # Weights 5 and 7: (5 * 0.2876821 + 0.6931472) / 2; the second label is absent, so that its 7 says nothing, and
    # the divisor remains 2.
    loss = binary_cross_entropy(double([[log(3), 0.0]]), double([[1.0, 0.0]]), double([5.0, 7.0]))
    assert loss.item() == pytest.approx((5 * log(4 / 3) + log(2)) / 2, abs=1e-12)


def test_smoothing_by_hand() -> None:
    # Smoothing 0.2: targets (0.9, 0.1). Label 1: 0.9 log 4/3 + 0.1 log 4; label 2: log 2 either way. Weight 5 on
    # what is present: 0.9 * 5 log 4/3 + 0.1 log 4, and 0.1 * 7 log 2 + 0.9 log 2.
    logits, targets = double([[log(3), 0.0]]), double([[1.0, 0.0]])
    plain = (0.9 * log(4 / 3) + 0.1 * log(4) + log(2)) / 2
    assert binary_cross_entropy(logits, targets, None, 0.2).item() == pytest.approx(plain, abs=1e-12)
    weighted = (4.5 * log(4 / 3) + 0.1 * log(4) + 1.6 * log(2)) / 2
    found = binary_cross_entropy(logits, targets, double([5.0, 7.0]), 0.2)
    assert found.item() == pytest.approx(weighted, abs=1e-12)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_bce_against_torch(weights: torch.Tensor | None) -> None:
    expected = F.binary_cross_entropy_with_logits(LOGITS, TARGETS, pos_weight=weights)
    assert binary_cross_entropy(LOGITS, TARGETS, weights).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_one_label_is_the_cross_entropy_of_two_classes(smoothing: float) -> None:
    # sigmoid(z) is the second of softmax(0, z), smoothing too.
    logits, targets = LOGITS[:, :1], TARGETS[:, :1]
    classes = torch.cat([torch.zeros_like(logits), logits], dim=1)
    expected = cross_entropy(classes, targets[:, 0].long(), label_smoothing=smoothing)
    found = binary_cross_entropy(logits, targets, label_smoothing=smoothing)
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)


def test_soft_targets_are_between_the_hard_ones() -> None:
    ones = torch.ones_like(TARGETS)
    present, absent = binary_cross_entropy(LOGITS, ones), binary_cross_entropy(LOGITS, 1 - ones)
    found = binary_cross_entropy(LOGITS, 0.25 * ones)
    assert found.item() == pytest.approx(0.25 * present.item() + 0.75 * absent.item(), rel=1e-12)


def test_sample_weights_count_against_the_whole_batch() -> None:
    each = [binary_cross_entropy(LOGITS[[i]], TARGETS[[i]], WEIGHTS, 0.1).item() for i in range(6)]
    found = binary_cross_entropy(LOGITS, TARGETS, WEIGHTS, 0.1, SAMPLES)
    assert found.item() == pytest.approx(sum(w * x for w, x in zip(SAMPLES.tolist(), each, strict=True)) / 6)


def test_pieces_add_up_to_the_batch() -> None:
    pieces = [
        binary_cross_entropy_sum(LOGITS[rows], TARGETS[rows], WEIGHTS, 0.1) for rows in ([0], [1, 2, 3], [4, 5])
    ]
    whole = binary_cross_entropy(LOGITS, TARGETS, WEIGHTS, 0.1)
    assert sum(piece.item() for piece in pieces) / 6 == pytest.approx(whole.item(), rel=1e-12)


def test_bce_gradients() -> None:
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: binary_cross_entropy(x, TARGETS, WEIGHTS, 0.1, SAMPLES), (logits,))
    # Far out the loss is linear: wrong with weight 10 pulls by 10 up, wrong without by 1 down, right by nothing.
    far = torch.tensor([[-1e4, 1e4, 1e4, -1e4]], requires_grad=True)
    loss = binary_cross_entropy(far, torch.tensor([[1.0, 0.0, 1.0, 0.0]]), torch.full((4,), 10.0))
    (gradient,) = torch.autograd.grad(loss, far)
    assert gradient.tolist() == [[-10 / 4, 1 / 4, 0.0, 0.0]]
    assert loss.item() == pytest.approx((10 * 1e4 + 1e4) / 4)


def test_positive_weights_by_hand() -> None:
    # Of 24 rows: 6 present, 18 / 6 = 3; 1 present, 23 held to 10; 20 present, 4 / 20 held to 1; never; always.
    counts = (6, 1, 20, 0, 24)
    targets = torch.stack([(torch.arange(24) < n).float() for n in counts], dim=1)
    assert positive_weights(targets).tolist() == [3.0, 10.0, 1.0, 1.0, 1.0]
    assert positive_weights(targets).dtype == torch.float32


def test_soft_targets_count_by_their_share() -> None:
    assert positive_weights(torch.tensor([[0.5], [0.25], [0.0]])).tolist() == [pytest.approx(2.25 / 0.75)]


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        positive_weights(torch.zeros(0, 3))


def test_binary_kd_by_hand() -> None:
    # tau = 2 halves the logits: teacher 3/4 and 1/2, student 1/2 and 1/2. KL of the first is
    # 3/4 log(3/2) + 1/4 log(1/2) = 0.1308120, of the second 0; times tau^2 = 4, over two labels: 0.2616240.
    loss = binary_kd(double([[0.0, 0.0]]), double([[2 * log(3), 0.0]]), 2.0)
    assert loss.item() == pytest.approx(2 * (0.75 * log(1.5) + 0.25 * log(0.5)), abs=1e-12)
    assert loss.item() == pytest.approx(0.2616240, abs=1e-7)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_binary_kd_against_the_definition(temperature: float) -> None:
    total = 0.0
    for s, t in zip(LOGITS.flatten().tolist(), TEACHER.flatten().tolist(), strict=True):
        p, q = 1 / (1 + exp(-t / temperature)), 1 / (1 + exp(-s / temperature))
        total += p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))
    found = binary_kd(LOGITS, TEACHER, temperature)
    assert found.item() == pytest.approx(temperature**2 * total / LOGITS.numel(), rel=1e-10)


def test_one_label_is_the_kd_of_two_classes() -> None:
    def classes(logits: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(logits), logits], dim=1)

    student, teacher = LOGITS[:, :1], TEACHER[:, :1]
    expected = kd(classes(student), classes(teacher), 2.5, SAMPLES)
    assert binary_kd(student, teacher, 2.5, SAMPLES).item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_number_of_labels_does_not_change_the_balance() -> None:
    # The same labels twice over: both losses keep their value, so that alpha keeps its meaning.
    twice = [torch.cat([values, values], dim=1) for values in (LOGITS, TEACHER, TARGETS)]
    assert binary_kd(twice[0], twice[1], 2.0).item() == pytest.approx(binary_kd(LOGITS, TEACHER, 2.0).item())
    expected = binary_cross_entropy(LOGITS, TARGETS).item()
    assert binary_cross_entropy(twice[0], twice[2]).item() == pytest.approx(expected)


def test_at_a_high_temperature_the_gradient_keeps_its_size() -> None:
    # tau^2 / tau (sigmoid(s / tau) - sigmoid(t / tau)) -> (s - t) / 4, divided by the labels and the batch.
    student = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(binary_kd(student, TEACHER, 1000.0), student)
    assert torch.allclose(gradient, (LOGITS - TEACHER) / 4 / LOGITS.numel(), atol=1e-6)


def test_the_teacher_gets_no_gradient_and_the_student_the_right_one() -> None:
    student, teacher = LOGITS.clone().requires_grad_(), TEACHER.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: binary_kd(s, TEACHER, 2.5, SAMPLES), (student,))
    assert torch.autograd.grad(binary_kd(student, teacher, 2.0), teacher, allow_unused=True)[0] is None


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_binary_kd_at_extreme_logits(temperature: float) -> None:
    # Wrong by far, the divergence is |s| / tau, and the gradient of tau^2 |s| / tau is tau, over two labels.
    student = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = binary_kd(student, torch.tensor([[-1e4, 1e4]]), temperature)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(temperature * 1e4)
    assert gradient.tolist() == [[temperature / 2, -temperature / 2]]
    agreed = binary_kd(student, student.detach(), temperature)
    assert agreed.item() == 0
    assert torch.autograd.grad(agreed, student)[0].tolist() == [[0.0, 0.0]]
