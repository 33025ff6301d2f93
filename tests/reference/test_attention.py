"""Attention transfer, of maps and activations, and the resizing of maps, by hand and against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.losses.attention import activation_attention, attention_transfer, resize_map


def random_maps(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64).softmax(dim=-1)


def prefix(lengths: list[int], time: int) -> Tensor:
    return torch.arange(time)[None, :] < torch.tensor(lengths)[:, None]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [[3.0, 0.0], [0.0, 3.0]], 0.0),  # only the direction counts
        ([[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]], 2.0),  # orthogonal: 1 + 1
        # (3, 4, 0, 0) / 5 against (1, 0, 0, 0): (0.6 - 1)^2 + 0.8^2 = 0.16 + 0.64 = 0.8
        ([[3.0, 4.0], [0.0, 0.0]], [[1.0, 0.0], [0.0, 0.0]], 0.8),
        ([[3.0, 4.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], 0.0),  # the teacher has no such modality
    ],
)
def test_by_hand(student: list[list[float]], teacher: list[list[float]], expected: float) -> None:
    assert attention_transfer(torch.tensor([student]), torch.tensor([teacher])).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_it_is_a_mean_over_the_batch() -> None:
    # Of three samples: 0.8, none (teacher's map is empty), and 0: mean 0.8 / 3.
    student = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]] * 3)
    teacher = torch.zeros(3, 2, 2)
    teacher[0, 0, 0] = 1.0
    teacher[2] = student[2]
    assert attention_transfer(student, teacher).item() == pytest.approx(0.8 / 3, abs=1e-6)


def test_the_teacher_gets_no_gradient_and_the_student_the_right_one() -> None:
    student = random_maps(1, 3, 4, 4).requires_grad_()
    teacher = random_maps(2, 3, 4, 4)
    teacher[1] = 0
    assert torch.autograd.gradcheck(lambda s: attention_transfer(s, teacher), (student,))
    teacher.requires_grad_()
    assert torch.autograd.grad(attention_transfer(student, teacher), teacher, allow_unused=True)[0] is None


def test_resize_by_hand() -> None:
    # Three steps to two cells: s = 3/2, centres 0.25 and 1.75. Triangle of cell 0 over steps 0, 1, 2:
    # 1 - .25/1.5 = 5/6, 1 - .75/1.5 = 1/2, 0; normalised 5/8, 3/8, 0. By symmetry cell 1: 0, 3/8, 5/8.
    # A map that is 1 at (0, 1) only gives the outer product: rows 5/8, 0; columns 3/8, 3/8.
    maps = torch.zeros(1, 3, 3)
    maps[0, 0, 1] = 1.0
    resized = resize_map(maps, torch.ones(1, 3, dtype=torch.bool), 2)
    assert resized[0].flatten().tolist() == pytest.approx([15 / 64, 15 / 64, 0, 0], abs=1e-6)


@pytest.mark.parametrize("lengths", [[16, 16], [40, 37], [5, 1], [16, 40], [15, 17]])
def test_resize_equals_torch_on_the_cut_map(lengths: list[int]) -> None:
    maps = random_maps(4, 2, 40, 40)  # what lies in the padding must not be seen
    resized = resize_map(maps, prefix(lengths, 40), 16)
    for map_, length, got in zip(maps, lengths, resized, strict=True):
        cut = map_[None, None, :length, :length]
        expected = F.interpolate(cut, size=(16, 16), mode="bilinear", antialias=True, align_corners=False)
        assert torch.allclose(got, expected[0, 0], atol=1e-6)


def test_growing_is_plain_bilinear() -> None:
    maps = random_maps(5, 1, 5, 5)
    expected = F.interpolate(maps[None], size=(9, 9), mode="bilinear", align_corners=False)[0]
    assert torch.allclose(resize_map(maps, prefix([5], 5), 9), expected, atol=1e-6)


def test_a_map_without_valid_steps_is_zero_and_finite() -> None:
    maps = random_maps(6, 2, 6, 6).requires_grad_()
    resized = resize_map(maps, prefix([0, 4], 6), 3)
    (gradient,) = torch.autograd.grad(resized.sum(), maps)
    assert resized[0].abs().sum().item() == 0
    assert torch.isfinite(gradient).all()
    assert gradient[1, 4:].abs().sum().item() == 0


def test_padding_on_the_left_is_the_same_map() -> None:
    maps = random_maps(7, 1, 4, 4)
    padded = F.pad(maps, (3, 0, 3, 0), value=9.0)
    mask = torch.tensor([[False] * 3 + [True] * 4])
    assert torch.allclose(resize_map(padded, mask, 2), resize_map(maps, prefix([4], 4), 2), atol=1e-12)


def test_activations_by_hand() -> None:
    # Mean squares over the channels. Student: 3, 4 -> Q (.6, .8); teacher: 5, 0 -> (1, 0): .16 + .64 = 0.8.
    # The signs and the numbers of channels do not matter.
    student = torch.tensor([[[3.0**0.5], [-2.0]]])
    teacher = torch.tensor([[[1.0, 3.0, 0.0], [0.0, 0.0, 0.0]]])
    assert activation_attention(student, teacher).item() == pytest.approx(0.8, abs=1e-6)
    both = activation_attention(student.repeat(2, 1, 1), torch.stack([teacher[0], torch.zeros(2, 3)]))
    assert both.item() == pytest.approx(0.4, abs=1e-6)  # a teacher without activation contributes 0


def test_activations_in_the_padding_are_not_seen() -> None:
    generator = torch.Generator().manual_seed(8)
    student, teacher = (torch.randn(2, 6, width, generator=generator, dtype=torch.float64) for width in (3, 5))
    mask = prefix([4, 6], 6)
    expected = activation_attention(student[:1, :4], teacher[:1, :4]) + activation_attention(
        student[1:], teacher[1:]
    )
    assert activation_attention(student, teacher, mask).item() == pytest.approx(expected.item() / 2, rel=1e-12)


def test_gradient_of_activations_also_at_zero() -> None:
    generator = torch.Generator().manual_seed(9)
    student, teacher = (torch.randn(2, 4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    mask = prefix([2, 4], 4)
    inputs = (student.requires_grad_(),)
    assert torch.autograd.gradcheck(lambda s: activation_attention(s, teacher, mask), inputs)
    silent = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    loss = activation_attention(silent, teacher.requires_grad_(), mask)
    (gradient, of_teacher) = torch.autograd.grad(loss, (silent, teacher), allow_unused=True)
    assert of_teacher is None
    assert loss.item() == pytest.approx(1.0)  # |Q(teacher)|^2
    assert gradient.abs().max().item() == 0


def test_extreme_activations_stay_finite() -> None:
    student = torch.full((1, 2, 3), 1e3, requires_grad=True)
    loss = activation_attention(student, torch.tensor([[[1e3] * 3, [-1e-3] * 3]]))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == pytest.approx(2 - 2**0.5, abs=1e-6)  # (1, 1) / sqrt 2 against (1, 0)
    assert torch.isfinite(gradient).all()
