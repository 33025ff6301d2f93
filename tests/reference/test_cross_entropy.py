"""Cross-entropy and class weights, by hand, against torch's own mean and scikit-learn's balanced weights."""

from __future__ import annotations

from math import log, sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from sklearn.utils.class_weight import compute_class_weight

from trainables.losses.supervised import ClassWeighting, class_weights, cross_entropy

MELD_TRAIN = (4710, 1205, 268, 683, 1743, 271, 1109)
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
LABELS = torch.tensor([0, 2, 1, 0, 2, 2])
WEIGHTS = torch.tensor([0.5, 2.0, 1.25], dtype=torch.float64)


def test_by_hand() -> None:
    # softmax(log 3, 0) = (3/4, 1/4). Labels 0 and 1: -(log 3/4 + log 1/4) / 2 = (0.2876821 + 1.3862944) / 2.
    logits = torch.tensor([[log(3), 0.0]] * 2)
    assert cross_entropy(logits, torch.tensor([0, 1])).item() == pytest.approx(0.8369882, abs=1e-6)


def test_label_smoothing_by_hand() -> None:
    # Label 0, smoothing 0.2 over two classes: targets (0.9, 0.1):
    # 0.9 * 0.2876821 + 0.1 * 1.3862944 = 0.3975433.
    loss = cross_entropy(torch.tensor([[log(3), 0.0]]), torch.tensor([0]), label_smoothing=0.2)
    assert loss.item() == pytest.approx(0.3975433, abs=1e-6)


def test_class_weights_by_hand() -> None:
    # Weights 1 and 3: (1 * 0.2876821 + 3 * 1.3862944) / (1 + 3) = 1.1116413.
    logits = torch.tensor([[log(3), 0.0]] * 2)
    loss = cross_entropy(logits, torch.tensor([0, 1]), torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx(1.1116413, abs=1e-6)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_against_torch(weights: torch.Tensor | None, smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, LABELS, weight=weights, label_smoothing=smoothing)
    assert cross_entropy(LOGITS, LABELS, weights, smoothing).item() == pytest.approx(expected.item(), rel=1e-12)
    ones = torch.ones(6, dtype=torch.float64)
    assert cross_entropy(LOGITS, LABELS, weights, smoothing, ones).item() == pytest.approx(
        expected.item(), rel=1e-12
    )


def test_sample_weights_count_against_the_whole_batch() -> None:
    # (0.5 * 0.2876821 + 0 * 1.3862944) / 2 = 0.0719205
    logits = torch.tensor([[log(3), 0.0]] * 2)
    loss = cross_entropy(logits, torch.tensor([0, 1]), sample_weights=torch.tensor([0.5, 0.0]))
    assert loss.item() == pytest.approx(0.0719205, abs=1e-6)


def test_gradient() -> None:
    sample = torch.tensor([1.0, 0.0, 0.3, 0.5, 1.0, 0.9], dtype=torch.float64)
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, LABELS, WEIGHTS, 0.1, sample), (logits,))


def test_a_batch_of_weightless_classes_gives_zero() -> None:
    loss = cross_entropy(torch.zeros(2, 2), torch.tensor([1, 1]), torch.tensor([1.0, 0.0]))
    assert loss.item() == 0


@pytest.mark.parametrize(
    ("counts", "weighting", "expected"),
    [
        ((3, 1), "none", (1.0, 1.0)),
        ((3, 1), "inverse", (4 / 6, 4 / 2)),  # N / (C n_c); mean over samples (3 * 2/3 + 1 * 2) / 4 = 1
        # n^-1/2 = 1/2 and 1; over the samples of (4, 1): 4/2 + 1 = 3, times 5/3 apiece: 5/6 and 5/3
        ((4, 1), "sqrt_inverse", (5 / 6, 5 / 3)),
        ((4, 0), "inverse", (1.0, 0.0)),
        ((4, 0, 1), "sqrt_inverse", (5 / 6, 0.0, 5 / 3)),
    ],
)
def test_weights_from_counts(
    counts: tuple[int, ...], weighting: ClassWeighting, expected: tuple[float, ...]
) -> None:
    assert class_weights(counts, weighting).tolist() == pytest.approx(expected, abs=1e-6)


def test_inverse_is_scikit_learns_balanced_and_melds_known_weights() -> None:
    labels = np.repeat(np.arange(7), MELD_TRAIN)
    balanced = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    weights = class_weights(MELD_TRAIN, "inverse").tolist()
    assert weights == pytest.approx(balanced.tolist(), rel=1e-6)
    assert [round(x, 3) for x in weights] == [0.303, 1.184, 5.325, 2.089, 0.819, 5.266, 1.287]


@pytest.mark.parametrize("weighting", ["none", "sqrt_inverse", "inverse"])
def test_the_mean_over_samples_is_one(weighting: ClassWeighting) -> None:
    weights = class_weights(MELD_TRAIN, weighting).double()
    assert (weights * torch.tensor(MELD_TRAIN)).sum().item() / sum(MELD_TRAIN) == pytest.approx(1.0, abs=1e-6)


def test_the_root_lies_between() -> None:
    root = class_weights(MELD_TRAIN, "sqrt_inverse")
    assert (root[2] / root[0]).item() == pytest.approx(sqrt(4710 / 268), rel=1e-5)


def test_no_sample_at_all_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        class_weights((0, 0), "inverse")
