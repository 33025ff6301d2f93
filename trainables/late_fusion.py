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
(`logits`, `product`), too small to be felt otherwise, and for stacking the usual L2 of its matrix towards 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from trainables.spec.multi_level import Late

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIDGE = 1e-3
STACKING_L2 = 1.0
_STEPS = 200


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
    """The parameters, as in `start`, that minimise the negative log-likelihood of labels [N] by L-BFGS."""
    begin = start(kind, *members.shape[1:])
    if kind == "mean":
        return begin
    from scipy.optimize import minimize

    members, labels = members.detach().cpu().double(), labels.cpu()

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        with torch.enable_grad():
            parameters = torch.tensor(flat).view_as(begin).requires_grad_()
            loss = F.cross_entropy(fused(kind, parameters, members), labels, reduction="sum")
            loss = loss + _penalty(kind, parameters, begin)
            (gradient,) = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), gradient.numpy().ravel()

    found: Any = minimize(
        objective,
        begin.numpy().ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None)] * begin.numel() if kind == "product" else None,
        options={"maxiter": _STEPS, "ftol": 1e-10, "gtol": 1e-4},
    )
    return torch.from_numpy(found.x).view_as(begin)


def _penalty(kind: Late, parameters: Tensor, begin: Tensor) -> Tensor:
    if kind == "stacking":
        return 0.5 * STACKING_L2 * parameters[:, :-1].square().sum()
    return 0.5 * RIDGE * (parameters - begin).square().sum()


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
