"""CRD's loss by hand and by a plain loop, and what its bank remembers and draws."""

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.losses.crd import CRDBank, crd

TEXT = torch.tensor([1, 1, 2, 3, 3, 3, 4, 5, 6, 7])


def vectors(seed: int, rows: int = 4, width: int = 3) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def naive(positive: float, negatives: list[float], log_z: float, samples: int) -> float:
    """One sample, one direction, as in the paper's equations 16 to 18."""
    noise = len(negatives) / samples
    h = [exp(score) / exp(log_z) for score in (positive, *negatives)]
    return -log(h[0] / (h[0] + noise)) - sum(log(noise / (x + noise)) for x in h[1:])


def bank(text: Tensor | None = None, negatives: int = 6, momentum: float = 0.5) -> CRDBank:
    torch.manual_seed(0)
    return CRDBank(10, 3, negatives=negatives, temperature=0.5, momentum=momentum, text_hash=text).double()


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_one_pair_by_hand() -> None:
    # Z = 2, one negative of two samples: K/N = 1/2. Positive h = 3/2: -log(3/4); negative h = 1/2: -log(1/2).
    # Sum log(8/3) = 0.9808293.
    loss = crd(torch.tensor([log(3.0)]), torch.tensor([[0.0]]), log(2), data_size=2)
    assert loss.item() == pytest.approx(log(8 / 3), rel=1e-6)


def test_against_the_loop() -> None:
    positive, negative = vectors(1)[:, 0], vectors(2, 4, 5)
    expected = sum(naive(p, n, 0.7, 30) for p, n in zip(positive.tolist(), negative.tolist(), strict=True)) / 4
    assert crd(positive, negative, 0.7, 30).item() == pytest.approx(expected, rel=1e-10)


def test_masked_negatives_are_none_of_them() -> None:
    positive, negative = vectors(1, 2)[:, 0], vectors(2, 2, 4)
    kept = torch.tensor([[True, False, True, False], [False] * 4])
    # The second row has no negative and is certain: 0.
    expected = naive(positive[0].item(), negative[0, [0, 2]].tolist(), 0.1, 20) / 2
    assert crd(positive, negative, 0.1, 20, kept=kept).item() == pytest.approx(expected, rel=1e-10)
    inputs = (positive.requires_grad_(), negative.requires_grad_())
    gradients = torch.autograd.grad(crd(*inputs, 0.1, 20, kept=kept), inputs)
    assert gradients[0].bool().tolist() == [True, False]
    assert gradients[1].bool().tolist() == kept.tolist()


def test_weights() -> None:
    positive, negative = vectors(1)[:, 0], vectors(2, 4, 5)
    weights = [1.0, 0.0, 0.5, 0.0]
    terms = [naive(p, n, 0.7, 30) for p, n in zip(positive.tolist(), negative.tolist(), strict=True)]
    loss = crd(positive, negative, 0.7, 30, weights=torch.tensor(weights, dtype=torch.float64))
    assert loss.item() == pytest.approx((terms[0] + terms[2] / 2) / 4, rel=1e-10)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients(masked: bool) -> None:
    kept = vectors(3, 4, 5) > 0 if masked else None
    inputs = (vectors(1)[:, 0].requires_grad_(), vectors(2, 4, 5).requires_grad_())
    assert torch.autograd.gradcheck(lambda p, n: crd(p, n, 0.7, 30, kept=kept), inputs)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extreme_scores_stay_finite(sign: float) -> None:
    positive = torch.tensor([sign * 1e3, 0.0], requires_grad=True)
    negative = torch.tensor([[-sign * 1e3, 0.0], [1e3, -1e3]], requires_grad=True)
    loss = crd(positive, negative, 500.0, 1000)
    gradients = torch.autograd.grad(loss, (positive, negative))
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_the_bank_is_both_directions_of_the_loss() -> None:
    found, index = bank(), torch.tensor([2, 7, 0, 9])
    student, teacher = vectors(1), vectors(2)
    memories = {"s": found.memory_student.clone().numpy(), "t": found.memory_teacher.clone().numpy()}
    drawn = found.draw(index, seeded()).numpy()
    expected = 0.0
    for anchors, memory in ((student, memories["t"]), (teacher, memories["s"])):
        unit = (anchors / anchors.norm(dim=1, keepdim=True)).numpy()
        rows = [np.concatenate([[own], negatives]) for own, negatives in zip(index.numpy(), drawn, strict=True)]
        scores = np.array([memory[row] @ u / 0.5 for row, u in zip(rows, unit, strict=True)])
        log_z = log(10 * np.exp(scores).mean())  # N times the mean over the first batch
        expected += float(np.mean([naive(row[0], row[1:].tolist(), log_z, 10) for row in scores]))
    assert found(student, teacher, index, generator=seeded()).item() == pytest.approx(expected, rel=1e-9)


def test_constants_are_the_first_batchs() -> None:
    found = bank()
    assert found.log_z.isnan().all()
    found(vectors(1), vectors(2), torch.tensor([2, 7, 0, 9]))
    first = found.log_z.clone()
    found(vectors(3), vectors(4), torch.tensor([1, 3, 5, 6]))
    assert torch.isfinite(first).all()
    assert first[0] != first[1]
    assert torch.equal(found.log_z, first)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_memory_moves_towards_what_was_seen(momentum: float) -> None:
    found, index = bank(momentum=momentum), torch.tensor([2, 7, 0, 9])
    before = found.memory_student.clone()
    found(vectors(1), vectors(2), index)
    mixed = momentum * before[index] + (1 - momentum) * F.normalize(vectors(1), dim=1)
    expected = mixed / mixed.norm(dim=1, keepdim=True)
    assert torch.allclose(found.memory_student[index], expected, atol=1e-12)
    others = [i for i in range(10) if i not in index.tolist()]
    assert torch.equal(found.memory_student[others], before[others])


def test_evaluation_leaves_the_memory_alone() -> None:
    found = bank().eval()
    before = found.memory_student.clone(), found.memory_teacher.clone()
    found(vectors(1), vectors(2), torch.tensor([2, 7, 0, 9]))
    assert torch.equal(found.memory_student, before[0])
    assert torch.equal(found.memory_teacher, before[1])


def test_no_sample_is_its_own_negative_and_every_other_one_is() -> None:
    found = bank(negatives=1000)
    drawn = found.draw(torch.arange(10))
    for own, row in enumerate(drawn):
        counts = torch.bincount(row, minlength=10)
        assert counts[own] == 0
        # 1000 draws over nine others: 111 each, standard deviation 10.
        assert all(60 < counts[i] < 165 for i in range(10) if i != own)


def test_torchs_generator_decides() -> None:
    torch.manual_seed(5)
    found, index = bank(), torch.arange(10)
    drawn = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        drawn.append(found.draw(index))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(found.draw(index, seeded()), found.draw(index, seeded()))


def test_a_sample_of_equal_text_is_no_negative() -> None:
    # Index 3: of its draws those of samples 4 and 5 have its text.
    found, index = bank(TEXT).eval(), torch.tensor([3])
    found(vectors(1, 1), vectors(2, 1), index, generator=seeded())
    drawn = found.draw(index, seeded())[0]
    assert {4, 5} & set(drawn.tolist())
    memory, gradients = found.memory_teacher, []
    for seen in range(10):
        found.memory_teacher = memory.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(
            found(vectors(1, 1), vectors(2, 1), index, generator=seeded()), found.memory_teacher
        )
        gradients.append(bool(gradient[seen].any()))
    assert [i for i, seen in enumerate(gradients) if seen] == sorted({3, *drawn.tolist()} - {4, 5})


def test_where_all_texts_are_equal_there_is_nothing_to_tell_apart() -> None:
    found = bank(torch.zeros(10, dtype=torch.int64))
    student = vectors(1).requires_grad_()
    loss = found(student, vectors(2), torch.tensor([2, 7, 0, 9]))
    (gradient,) = torch.autograd.grad(loss, student)
    assert loss.item() == 0
    assert gradient.abs().max().item() == 0


def test_gradients_reach_both_sides() -> None:
    found, index = bank(TEXT).eval(), torch.tensor([2, 7, 0, 9])
    found(vectors(1), vectors(2), index)  # sets the constants
    inputs = (vectors(1).requires_grad_(), vectors(2).requires_grad_())
    assert torch.autograd.gradcheck(lambda s, t: found(s, t, index, generator=seeded()), inputs)


def test_a_step_may_follow_the_update_of_the_memory() -> None:
    found, student = bank(), vectors(1).requires_grad_()
    found(student, vectors(2), torch.tensor([2, 7, 0, 9])).backward()
    assert student.grad is not None
    assert student.grad.abs().sum(dim=1).bool().all()


def test_a_sample_of_weight_0_teaches_nothing() -> None:
    found, student = bank(), vectors(1).requires_grad_()
    loss = found(student, vectors(2), torch.tensor([2, 7, 0, 9]), weights=torch.tensor([1.0, 0.0, 1.0, 0.5]))
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().sum(dim=1).bool().tolist() == [True, False, True, True]


def test_its_state_is_a_state_dict() -> None:
    found, index = bank(TEXT), torch.tensor([2, 7, 0, 9])
    found(vectors(1), vectors(2), index, generator=seeded())
    torch.manual_seed(99)
    other = CRDBank(10, 3, negatives=6, temperature=0.5, text_hash=TEXT).double()
    state = found.state_dict()
    assert sorted(state) == ["log_z", "memory_student", "memory_teacher"]
    assert list(found.parameters()) == []
    other.load_state_dict(state)
    values = [b(vectors(3), vectors(4), index, generator=seeded(2)).item() for b in (found, other)]
    assert values[0] == values[1]


@pytest.mark.parametrize(("samples", "negatives"), [(1, 5), (10, 0), (10, 1025)])
def test_sizes_that_cannot_be(samples: int, negatives: int) -> None:
    with pytest.raises(ValueError, match="2 samples and 1 to 1024 negatives"):
        CRDBank(samples, negatives=negatives)
