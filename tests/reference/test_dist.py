"""DIST against numbers worked by hand and numpy's own correlation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from trainables.losses.distillation import dist


def logits(seed: int, rows: int = 6, classes: int = 4) -> Tensor:
    return 2 * torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(student: Tensor, teacher: Tensor, tau: float) -> tuple[float, float]:
    """1 - Pearson's correlation, mean over samples and mean over classes."""
    s, t = ((x / tau).softmax(dim=1).numpy() for x in (student, teacher))
    of_samples = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s, t, strict=True)]
    of_classes = [1 - np.corrcoef(a, b)[0, 1] for a, b in zip(s.T, t.T, strict=True)]
    return tau**2 * float(np.mean(of_samples)), tau**2 * float(np.mean(of_classes))


# Teacher (.5, .3, .2), student (.2, .3, .5): centred, times 30: (5, -1, -4) and (-4, -1, 5), so that
# rho = (-20 + 1 - 20) / 42 = -13/14 and 1 - rho = 27/14. A batch of one has no classes' part.
@pytest.mark.parametrize("tau", [1.0, 3.0])
def test_one_sample_by_hand(tau: float) -> None:
    teacher = tau * torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    assert dist(teacher.flip(1), teacher, tau).item() == pytest.approx(tau**2 * 27 / 14, rel=1e-10)
    assert dist(teacher, teacher, tau).item() == pytest.approx(0, abs=1e-12)


def test_classes_by_hand() -> None:
    # Of two classes both columns vary alike: teacher .2 .5 .8 and student .8 .2 .5: centred, times 10,
    # (-3, 0, 3) and (3, -3, 0): rho = -9/18 and 1 - rho = 3/2 for both classes.
    t, s = (
        torch.tensor([[p, 1 - p] for p in ps], dtype=torch.float64).log()
        for ps in ([0.2, 0.5, 0.8], [0.8, 0.2, 0.5])
    )
    assert dist(s, t, 1.0, inter=0.0).item() == pytest.approx(1.5, rel=1e-10)


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
@pytest.mark.parametrize(("inter", "intra"), [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (2.0, 0.3)])
def test_against_numpy(tau: float, inter: float, intra: float) -> None:
    of_samples, of_classes = naive(logits(1), logits(2), tau)
    loss = dist(logits(1), logits(2), tau, inter=inter, intra=intra)
    assert loss.item() == pytest.approx(inter * of_samples + intra * of_classes, rel=1e-9)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]])
def test_a_sample_of_weight_0_has_no_say(weights: list[float]) -> None:
    weight, student = torch.tensor(weights, dtype=torch.float64), logits(1).requires_grad_()
    loss = dist(student, logits(2), 2.0, weights=weight)
    kept = weight.bool()
    assert loss.item() == pytest.approx(4 / 6 * dist(logits(1)[kept], logits(2)[kept], 2.0).item(), rel=1e-10)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient[~kept].abs().max().item() < 1e-15
    assert (gradient[kept].abs().sum(dim=1) > 1e-6).all()


def test_a_weight_counts_like_copies() -> None:
    # Weights (2, 1, 1) over three rows are the batch in which the first row comes twice, but for the divisor.
    weight = torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64)
    copies = [0, 0, 1, 2]
    loss = dist(logits(1, 3), logits(2, 3), 1.0, weights=weight)
    assert loss.item() == pytest.approx(
        4 / 3 * dist(logits(1, 3)[copies], logits(2, 3)[copies], 1.0).item(), rel=1e-10
    )


def test_all_weights_0_give_0() -> None:
    student = logits(1).requires_grad_()
    loss = dist(student, logits(2), 2.0, weights=torch.zeros(6, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert gradient.abs().max().item() == 0


def test_gradients() -> None:
    student, teacher = logits(1).requires_grad_(), logits(2).requires_grad_()
    tau = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, 0.3, 0.0, 1.0, 0.5, 1.0], dtype=torch.float64)
    for weight in (None, weights):
        assert torch.autograd.gradcheck(
            lambda s, t, w=weight: dist(s, teacher.detach(), t, inter=0.7, intra=1.3, weights=w), (student, tau)
        )
    assert torch.autograd.gradgradcheck(lambda s: dist(s, teacher.detach(), 2.0), (student,))
    assert torch.autograd.grad(dist(student, teacher, 2.0), teacher, allow_unused=True)[0] is None


def test_without_variance_on_the_teachers_side_there_is_nothing_to_learn() -> None:
    student = logits(1).float().requires_grad_()
    loss = dist(student, torch.full((6, 4), 3.0), 2.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert gradient.abs().max().item() == 0


def test_without_variance_on_the_students_side_alone_it_is_uncorrelated() -> None:
    # A head that starts from zeros: 1 from every sample and 1 from every class, times tau^2, without a gradient.
    student = torch.zeros(6, 4, requires_grad=True)
    loss = dist(student, logits(2).float(), 3.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(9 * 2)
    assert gradient.abs().max().item() == 0


def test_identical_rows_are_rounding_and_no_correlation() -> None:
    # Every sample alike on the student's side: classes have no variance though float32 sums may differ by bits.
    student = torch.tensor([[0.3, -1.7, 2.2, 0.1]] * 7).requires_grad_()
    teacher = logits(2, 7).float()
    loss = dist(student, teacher, 1.3, inter=0.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(1.69, rel=1e-6)
    assert gradient.abs().max().item() == 0


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_extreme_logits_stay_finite(rows: int) -> None:
    # A class that neither side ever gives has no variance on either side.
    student = (500 * logits(1, rows)).float().clamp(-1e3, 1e3).requires_grad_()
    loss = dist(student, (500 * logits(2, rows)).float().clamp(-1e3, 1e3), 1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
