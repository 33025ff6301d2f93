"""Late fusion: what joins the classifiers of one utterance, and how it is fitted on dev (methods reference, 2.2).

Members are logits [N, M, C]; p_m is the softmax of member m.

    mean      p = 1/M sum_m p_m
    weights   p = sum_m softmax(alpha)_m p_m
    logits    z = sum_m beta_m z_m
    product   log p ~ sum_m beta_m log p_m with beta_m >= 0: an expert may be left out, never turned round
    stacking  multinomial logistic regression on [log p_m]

Given beta, `logits` and `product` are the same probabilities; they differ in the sign that beta may have. All but
`mean` minimise the negative log-likelihood, summed over the rows, in float64. What keeps a fit finite where a
member is never wrong is not the paper's: a ridge towards the plain mean of probabilities (`weights`) or of logits
(`logits`, `product`), too small to be felt otherwise, and for stacking the usual L2 of its matrix towards 0, with
next to none on its intercepts, for a class that no row has.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.spec.multi_level import Late

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]
    Objective = Callable[[Vector], tuple[float, Vector]]

RIDGE = 1e-3
STACKING_L2 = 1.0
INTERCEPT_L2 = 1e-6
_SLOPE = 1e-4
"""Largest derivative at which a fit stops, in nats summed over the rows."""
_STEPS = 50


def start(kind: Late, members: int, classes: int) -> Tensor:
    """float64 parameters of the plain mean, of probabilities (`mean`, `weights`) or of logits (the others).

    `mean` has none: [0]; `weights`, `logits`, `product` [M]; `stacking` [C, M * C + 1], the intercept last.
    """
    if kind == "mean":
        return torch.zeros(0, dtype=torch.float64)
    if kind == "weights":
        return torch.zeros(members, dtype=torch.float64)
    if kind == "stacking":
        each = torch.eye(classes, dtype=torch.float64) / members
        return torch.cat([each.repeat(1, members), torch.zeros(classes, 1, dtype=torch.float64)], dim=1)
    return torch.full((members,), 1 / members, dtype=torch.float64)


def fused(kind: Late, parameters: Tensor, members: Tensor) -> Tensor:
    """Logits [N, C] whose softmax is the fusion of the members [N, M, C]."""
    if kind == "logits":
        return torch.einsum("m,nmc->nc", parameters, members)
    each = members.log_softmax(dim=2)
    if kind == "mean":
        return each.logsumexp(dim=1) - math.log(members.shape[1])
    if kind == "weights":
        return (each + parameters.log_softmax(dim=0)[:, None]).logsumexp(dim=1)
    if kind == "product":
        return torch.einsum("m,nmc->nc", parameters, each)
    return F.linear(each.flatten(1), parameters[:, :-1], parameters[:, -1])


def fit(kind: Late, members: Tensor, labels: Tensor) -> Tensor:
    """The parameters, as in `start`, that minimise the negative log-likelihood of labels [N].

    By L-BFGS; stacking, whose features say nearly the same several times over, by Newton steps. Members
    that are not finite leave the parameters at their start.
    """
    begin = start(kind, *members.shape[1:])
    members, labels = members.detach().cpu().double(), labels.cpu()
    if kind == "mean" or not bool(torch.isfinite(members).all()):
        return begin
    from scipy.optimize import minimize

    def objective(flat: Vector) -> tuple[float, Vector]:
        with torch.enable_grad():
            parameters = torch.tensor(flat).view_as(begin).requires_grad_()
            loss = F.cross_entropy(fused(kind, parameters, members), labels, reduction="sum")
            loss = loss + _penalty(kind, parameters, begin)
            (gradient,) = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), gradient.numpy().ravel()

    if kind == "stacking":
        return _newton(objective, _curvature(members), begin)
    bounds = [(0.0, None)] * begin.numel() if kind == "product" else None
    options = {"ftol": 1e-10, "gtol": _SLOPE}
    found: Any = minimize(objective, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return torch.from_numpy(found.x).view_as(begin)


def _newton(objective: Objective, curvature: Callable[[Tensor], Tensor], begin: Tensor) -> Tensor:
    """The minimum of a convex function by Newton steps, each halved until it descends."""
    here = begin.flatten()
    for _ in range(_STEPS):
        value, gradient = objective(here.numpy())
        slope = torch.from_numpy(gradient)
        if float(slope.abs().max()) < _SLOPE:
            break
        step = torch.linalg.solve(curvature(here), slope)
        while objective((here - step).numpy())[0] > value and float(step.abs().max()) > 1e-12:
            step = step / 2
        here = here - step
    return here.view_as(begin)


def _penalty(kind: Late, parameters: Tensor, begin: Tensor) -> Tensor:
    if kind == "stacking":
        matrix, intercept = parameters[:, :-1], parameters[:, -1]
        return 0.5 * (STACKING_L2 * matrix.square().sum() + INTERCEPT_L2 * intercept.square().sum())
    return 0.5 * RIDGE * (parameters - begin).square().sum()


def _curvature(members: Tensor) -> Callable[[Tensor], Tensor]:
    """The Hessian [P, P] of stacking at its flat parameters [P]."""
    classes = members.shape[2]
    features = F.pad(members.log_softmax(dim=2).flatten(1), (0, 1), value=1.0)
    ridge = torch.full((classes, features.shape[1]), STACKING_L2, dtype=torch.float64)
    ridge[:, -1] = INTERCEPT_L2

    def hessian(flat: Tensor) -> Tensor:
        p = (features @ flat.view_as(ridge).T).softmax(dim=1)
        spread = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        blocks = torch.einsum("nck,nd,ne->cdke", spread, features, features)
        return blocks.reshape(len(flat), len(flat)) + ridge.flatten().diag()

    return hessian


def halves(labels: Tensor) -> Tensor:
    """bool [N]: one of two halves, a function of the labels alone; both hold every class with two rows or more.

    The rows of a class alternate in their order, the first of an odd class in the other half than the one before.
    """
    second = torch.zeros(len(labels), dtype=torch.bool)
    for label in set(labels.tolist()):
        rows = torch.nonzero(labels == label)[:, 0]
        second[rows[(1 + label) % 2 :: 2]] = True
    return second


def cross_fitted(kind: Late, members: Tensor, labels: Tensor) -> Tensor:
    """float64 logits [N, C], each half of the rows joined by what was fitted on the other half."""
    members, labels = members.detach().cpu().double(), labels.cpu()
    second = halves(labels)
    found = torch.empty_like(members[:, 0])
    for own in (second, ~second):
        other = ~own if bool((~own).any()) else own
        if bool(own.any()):
            found[own] = fused(kind, fit(kind, members[other], labels[other]), members[own])
    return found
