"""Late fusion against numbers worked by hand, scikit-learn and a search of scipy that knows no gradient."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from trainables.late_fusion import RIDGE, cross_fitted, fit, fused, halves, start
from trainables.spec.multi_level import Late

FITTED: tuple[Late, ...] = ("weights", "logits", "product", "stacking")
# Two members, one row, two classes: p_1 = (.8, .2), p_2 = (.5, .5).
ROW = torch.tensor([[[0.8, 0.2], [0.5, 0.5]]], dtype=torch.float64).log()


def members_of(rows: int = 300, noise: tuple[float, ...] = (1.0, 2.0), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Members [N, M, 3] that know the label to within Gaussian noise, and the labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    each = [np.eye(3)[labels] * 2 + rng.normal(size=(rows, 3)) * s for s in noise]
    return torch.tensor(np.stack(each, axis=1)), torch.tensor(labels)


def nll(logits: Any, labels: Tensor) -> float:
    rows = log_softmax(logits, axis=1)[np.arange(len(labels)), labels.numpy()]
    return -float(np.sum(rows))


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"),
    [
        ("mean", [], [0.65, 0.35]),
        ("weights", [0.0, 0.0], [0.65, 0.35]),
        ("weights", [np.log(3), 0.0], [0.75 * 0.8 + 0.25 * 0.5, 0.75 * 0.2 + 0.25 * 0.5]),
        ("logits", [1.0, 5.0], [0.8, 0.2]),
        ("logits", [-1.0, 0.0], [0.2, 0.8]),
        ("product", [2.0, 1.0], [0.64 / 0.68, 0.04 / 0.68]),
        ("stacking", [[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, np.log(4)]], [0.5, 0.5]),
    ],
)
def test_numbers_worked_by_hand(kind: Late, parameters: list[float], expected: list[float]) -> None:
    found = fused(kind, torch.tensor(parameters, dtype=torch.float64), ROW).softmax(1)[0]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", get_args(Late))
def test_every_kind_starts_as_a_plain_mean(kind: Late) -> None:
    members, _ = members_of(20)
    p = softmax(members.numpy(), axis=2).mean(1) if kind in ("mean", "weights") else None
    z = softmax(members.numpy().mean(1), axis=1) if p is None else p
    assert np.allclose(fused(kind, start(kind, 2, 3), members).softmax(1).numpy(), z)


def test_the_logits_of_a_mean_are_log_probabilities() -> None:
    members, _ = members_of(20)
    assert torch.allclose(fused("mean", start("mean", 2, 3), members).exp().sum(1), torch.ones(20).double())


def test_weights_are_those_of_a_grid() -> None:
    members, labels = members_of()
    p = softmax(members.numpy(), axis=2)
    right = p[np.arange(300), :, labels.numpy()]
    grid = np.linspace(0, 1, 1001)
    best = grid[np.argmin([-np.log(w * right[:, 0] + (1 - w) * right[:, 1]).sum() for w in grid])]
    found = fit("weights", members, labels).softmax(0)
    assert 0 < best < 1 and float(found[0]) == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("kind", ["logits", "product"])
def test_powers_are_those_of_a_search_without_gradients(kind: Late) -> None:
    members, labels = members_of(noise=(1.0, 2.0, 3.0))
    begin = np.full(3, 1 / 3)

    def objective(beta: Any) -> float:
        ridge = 0.5 * RIDGE * float(np.sum((beta - begin) ** 2))
        return nll(np.einsum("m,nmc->nc", beta, members.numpy()), labels) + ridge

    expected = minimize(objective, begin, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9})
    assert (expected.x > 0).all()
    assert np.allclose(fit(kind, members, labels).numpy(), expected.x, atol=1e-4)


def test_stacking_is_scikit_learns_regression() -> None:
    members, labels = members_of()
    features = log_softmax(members.numpy(), axis=2).reshape(300, -1)
    sklearn = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(features, labels.numpy())
    found = fit("stacking", members, labels)
    assert np.allclose(found[:, :-1].numpy(), sklearn.coef_, atol=1e-3)
    ours = fused("stacking", found, members).softmax(1).numpy()
    assert np.allclose(ours, sklearn.predict_proba(features), atol=1e-4)


@pytest.mark.parametrize("kind", FITTED)
def test_fitting_is_better_than_the_plain_mean(kind: Late) -> None:
    members, labels = members_of(noise=(0.7, 4.0))
    plain, ours = start(kind, 2, 3), fit(kind, members, labels)
    before, after = (nll(fused(kind, p, members).numpy(), labels) for p in (plain, ours))
    assert after < 0.95 * before


@pytest.mark.parametrize(("kind", "largest"), [("weights", 0.02), ("logits", 0.05), ("product", 0.05)])
def test_a_useless_member_is_left_out(kind: Late, largest: float) -> None:
    members, labels = members_of(2000, noise=(1.0, 1.0))
    members[:, 1] = members_of(2000, noise=(1.0,), seed=5)[0][:, 0]  # of other labels
    found = fit(kind, members, labels)
    share = found.softmax(0) if kind == "weights" else found.abs() / found.abs().sum()
    assert float(share[1]) < largest


def test_a_member_that_is_always_wrong_is_turned_round_by_logits_and_left_out_by_a_product() -> None:
    members, labels = members_of()
    members[:, 1] = -members[:, 1]
    assert float(fit("logits", members, labels)[1]) < -0.1
    assert fit("product", members, labels)[1] == 0


@pytest.mark.parametrize("kind", FITTED)
def test_members_that_are_never_wrong_leave_it_finite(kind: Late) -> None:
    labels = torch.arange(30) % 3
    members = (torch.eye(3)[labels] * 20)[:, None].repeat(1, 2, 1)
    assert torch.isfinite(fit(kind, members, labels)).all()


@pytest.mark.parametrize("kind", FITTED)
def test_a_class_that_no_row_has_is_all_but_ruled_out_by_stacking_and_no_fault_elsewhere(kind: Late) -> None:
    members, labels = members_of()
    labels = labels.clamp(max=1)
    found = fused(kind, fit(kind, members, labels), members).softmax(1)
    assert torch.isfinite(found).all() and (kind != "stacking" or float(found[:, 2].max()) < 1e-3)


@pytest.mark.parametrize("kind", get_args(Late))
def test_what_is_not_a_number_is_handed_on(kind: Late) -> None:
    members = torch.full((6, 2, 3), torch.nan)
    assert not torch.isfinite(cross_fitted(kind, members, torch.arange(6) % 3)).any()


def test_halves_hold_every_class_and_are_stable() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 1, 0, 3])
    second = halves(labels)
    assert second.tolist() == [False, True, False, True, False, False, True, True, True]
    assert set(labels[second].tolist()) >= {0, 1} and set(labels[~second].tolist()) >= {0, 1}
    assert second.sum() in (4, 5)


@pytest.mark.parametrize("kind", FITTED)
def test_no_row_is_joined_by_what_saw_its_label(kind: Late) -> None:
    members, labels = members_of(40)
    second = halves(labels)
    found = cross_fitted(kind, members, labels)
    own = fused(kind, fit(kind, members[~second], labels[~second]), members[second])
    assert torch.equal(found[second], own)
    whole = fused(kind, fit(kind, members, labels), members)
    assert not torch.allclose(found, whole, atol=1e-6)


def test_members_of_random_labels_gain_nothing_when_cross_fitted() -> None:
    """Stacking that is fitted and scored on the same rows looks better than chance; cross-fitted it does not."""
    rng = np.random.default_rng(3)
    members, labels = torch.tensor(rng.normal(size=(60, 6, 4))), torch.tensor(rng.integers(0, 4, 60))
    same = nll(fused("stacking", fit("stacking", members, labels), members).numpy(), labels) / 60
    fair = nll(cross_fitted("stacking", members, labels).numpy(), labels) / 60
    assert same < np.log(4) - 0.1 and fair > np.log(4)
