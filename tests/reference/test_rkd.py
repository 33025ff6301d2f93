"""Relations within a batch against numbers worked by hand and plain loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.losses.relational import rkd_angle, rkd_distance, telme

Loss = Callable[[Tensor, Tensor], Tensor]
BOTH = pytest.mark.parametrize("loss", [rkd_distance, rkd_angle])


def vectors(seed: int, rows: int = 6, width: int = 4) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth_l1(difference: float) -> float:
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def naive_distance(student: Tensor, teacher: Tensor) -> float:
    pairs = list(permutations(range(len(student)), 2))
    sides = []
    for x in (student.numpy(), teacher.numpy()):
        distances = [float(np.linalg.norm(x[i] - x[j])) for i, j in pairs]
        sides.append([d / np.mean(distances) for d in distances])
    return float(np.mean([smooth_l1(a - b) for a, b in zip(*sides, strict=True)]))


def naive_angle(student: Tensor, teacher: Tensor) -> float:
    def cosine(x: np.ndarray, i: int, j: int, k: int) -> float:
        a, b = x[i] - x[j], x[k] - x[j]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    s, t = student.numpy(), teacher.numpy()
    triplets = permutations(range(len(s)), 3)
    return float(np.mean([smooth_l1(cosine(s, *ijk) - cosine(t, *ijk)) for ijk in triplets]))


def test_distances_by_hand() -> None:
    # Teacher 0, 1, 3: distances 1, 3, 2 over their mean 2: 1/2, 3/2, 1. Student 0, 3, 4: 3, 4, 1 over 8/3: 9/8,
    # 3/2, 3/8. Differences 5/8, 0, -5/8: two halves of 25/64 in three pairs: 25/192.
    student, teacher = torch.tensor([[0.0], [3.0], [4.0]]), torch.tensor([[0.0], [1.0], [3.0]])
    assert rkd_distance(student, teacher).item() == pytest.approx(25 / 192, rel=1e-6)


def test_angles_by_hand() -> None:
    # Teacher: a right triangle, cosines 0, r, r with r = 1 / sqrt 2. Student on a line: at its ends 1, between -1.
    # Smooth L1 of 1, -1 - r, 1 - r: 1/2, 1/2 + r, 3/4 - r: sum 7/4, mean 7/12.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert rkd_angle(student, teacher).item() == pytest.approx(7 / 12, rel=1e-6)


def test_against_the_loops() -> None:
    student, teacher = vectors(1) + 3, vectors(2, width=7)  # of different widths, far from the origin
    student[0] *= 10  # also the linear part of smooth L1
    assert rkd_distance(student, teacher).item() == pytest.approx(naive_distance(student, teacher), rel=1e-10)
    assert rkd_angle(student, teacher).item() == pytest.approx(naive_angle(student, teacher), rel=1e-10)


@BOTH
def test_turning_moving_and_scaling_change_nothing(loss: Loss) -> None:
    turn = torch.linalg.qr(vectors(3, 4)).Q
    assert loss(5 * vectors(1) @ turn + 2, vectors(1)).item() == pytest.approx(0, abs=1e-20)
    assert loss(vectors(2), vectors(1)).item() > 0.01


@BOTH
def test_gradients(loss: Loss) -> None:
    student, teacher = vectors(1, 5).requires_grad_(), vectors(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher.detach()), (student,))
    assert torch.autograd.gradgradcheck(lambda s: loss(s, teacher.detach()), (student,))
    assert torch.autograd.grad(loss(student, teacher), teacher, allow_unused=True)[0] is None


@BOTH
@pytest.mark.parametrize("equal", ["student", "teacher", "both", "a pair"])
def test_identical_rows_stay_finite(loss: Loss, equal: str) -> None:
    student, teacher = vectors(1).float(), vectors(2).float()
    if equal in ("student", "both"):
        student = student[:1].repeat(6, 1)
    if equal in ("teacher", "both"):
        teacher = teacher[:1].repeat(6, 1)
    if equal == "a pair":
        student[1], teacher[3] = student[0], teacher[2]
    student.requires_grad_()
    value = loss(student, teacher)
    (gradient,) = torch.autograd.grad(value, student)
    assert torch.isfinite(value)
    assert gradient.abs().max().item() < 10


def test_equal_teachers_have_no_angle() -> None:
    # Teachers 0 and 1 are equal: of the triplets around 0 and 1 those with the other one are no angles, and those
    # left are compared. The divisor counts all 4 * 3 * 2 triplets.
    student, teacher = vectors(1, 4), vectors(2, 4)
    teacher[1] = teacher[0]
    s, t = student.numpy(), teacher.numpy()
    total = 0.0
    for i, j, k in permutations(range(4), 3):
        a, b = (t[i] - t[j], t[k] - t[j])
        if a.any() and b.any():
            c, d = (s[i] - s[j], s[k] - s[j])
            student_cosine = c @ d / np.linalg.norm(c) / np.linalg.norm(d)
            total += smooth_l1(float(student_cosine - a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
    assert rkd_angle(student, teacher).item() == pytest.approx(total / 24, rel=1e-10)


@BOTH
@pytest.mark.parametrize("rows", [1, 2])
def test_small_batches(loss: Loss, rows: int) -> None:
    # Two samples have one distance, which is its own mean, and no angle.
    student = vectors(1, rows).requires_grad_()
    value = loss(student, vectors(2, rows))
    (gradient,) = torch.autograd.grad(value, student)
    assert value.item() == pytest.approx(0, abs=1e-20)
    assert gradient.abs().max().item() < 1e-12


@BOTH
def test_large_embeddings_stay_finite(loss: Loss) -> None:
    student = (1e3 * vectors(1)).float().requires_grad_()
    value = loss(student, (1e3 * vectors(2)).float())
    (gradient,) = torch.autograd.grad(value, student)
    assert value.item() == pytest.approx(loss(vectors(1), vectors(2)).item(), rel=1e-4)
    assert torch.isfinite(gradient).all()


def test_telme_by_hand() -> None:
    # Teacher (1, 0), (0, 1); student (1, 0), (1, 0). Row 1: softmax(1, 0) to softmax(1, 1) = (1/2, 1/2); row 2:
    # softmax(0, 1) to softmax(0, 0): the same. With p = e / (e + 1): log 2 + p log p + (1 - p) log(1 - p).
    p = np.e / (np.e + 1)
    expected = np.log(2) + p * np.log(p) + (1 - p) * np.log(1 - p)
    loss = telme(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.eye(2))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert telme(3 * vectors(1), vectors(1), 0.1).item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(lambda s: telme(s, vectors(2), 0.5), (vectors(1).requires_grad_(),))
