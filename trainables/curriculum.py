"""Easy samples first (methods reference, section 4.4: sample curriculum).

Quotas are per class, in both pacings: the easiest 30 % of MELD would otherwise be almost all neutral.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, log_softmax, logit

from trainables.spec.method import Curriculum

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]


def difficulty(teacher_logits: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """The teacher's negative log-likelihood of the label, in nats: float64 [samples].

    teacher_logits: [samples, classes]; labels: [samples].
    """
    log_probability = log_softmax(teacher_logits.astype(np.float64), axis=1)
    return np.asarray(-log_probability[np.arange(len(labels)), labels])


def disagreement(votes: Floats, labels: Ints) -> npt.NDArray[np.float64]:
    """The share of the raters that chose another class than the label's, in [0, 1]: float64 [samples].

    votes: [samples, classes], rows of NaN where nobody was asked; those are as hard as the median of the rest.
    """
    shares = 1.0 - votes.astype(np.float64)[np.arange(len(labels)), labels]
    known = ~np.isnan(shares)
    return np.asarray(np.where(known, shares, np.median(shares[known]) if known.any() else 0.0))


def pacing(curriculum: Curriculum, progress: float) -> float:
    """g(e) = min(1, g0 + (1 - g0)(e / E_grow)^q): the fraction of the samples in use at `progress` in [0, 1]."""
    grown = math.pow(min(1.0, progress / curriculum.grow), curriculum.power)
    return min(1.0, curriculum.start_fraction + (1 - curriculum.start_fraction) * grown)


def hard_selection(difficulty: Floats, labels: Ints, fraction: float) -> npt.NDArray[np.int64]:
    """Positions, ascending, of the ceil(fraction * n_c) easiest samples of each class c; ties go to the first.

    difficulty, labels: [samples]; fraction within (0, 1]: 1 selects all, and no class is ever left empty.
    """
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        # The small term keeps 0.07 * 100 = 7.000000000000001 at seven samples.
        kept = int(np.ceil(fraction * len(members) - 1e-9))
        chosen.append(members[np.argsort(difficulty[members], kind="stable")[:kept]])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def soft_weights(difficulty: Floats, labels: Ints, fraction: float, softness: float) -> npt.NDArray[np.float32]:
    """w_i = sigmoid((kappa_c - d_i) / s) with kappa_c = Q_c(g) + s log(g / (1 - g)): float32 [samples].

    Q_c(g) is the g-quantile of the difficulties of class c, so a sample that lies on it weighs g; easier ones
    weigh more, harder ones less. As g goes to 1 kappa goes to infinity and every weight to 1 without a jump;
    at g = 1 each is exactly 1. `fraction` g within (0, 1]; `softness` s > 0 in nats. Derived: the source
    leaves kappa open.
    """
    weights = np.ones(len(labels), dtype=np.float32)
    if fraction >= 1:
        return weights
    for label in np.unique(labels):
        members = labels == label
        quantile = np.quantile(difficulty[members], fraction)
        weights[members] = expit((quantile - difficulty[members]) / softness + logit(fraction))
    return weights
