"""The ceilings of the stand-in with several labels an utterance, exact in every score.

A model sees a cell (see `ceilings`) and gives any set of labels. Every score is a mean over labels, or of whole
sets, so that the best rule is found for each by itself (derived):

balanced accuracy of a label is (TPR + TNR) / 2, a sum over cells: present wherever the label's posterior odds
beat its prior odds. F1 of a label is a ratio of such sums, whose best rule is a threshold on the posterior
(Lipton, Elkan & Naryanaswamy, ECML 2014, theorem 1), so that giving the label to the cells in the order of their
posterior meets it. Exact match is most often met by the most probable set of each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainables.spec.base import MODALITIES, Modality
from trainables.spec.corpus import EMOTIONS
from trainables.standin.ceilings import Floats, distinct, joints
from trainables.standin.rules import Rules


@dataclass(frozen=True)
class SetCeiling:
    """In [0, 1], each of the rule that is best for it. The means are over labels, of F1 by their support."""

    weighted_f1: float
    balanced_accuracy: float
    exact_match: float


def set_ceilings(rules: Rules, modalities: Sequence[Modality] = MODALITIES) -> dict[str, SetCeiling]:
    """The ceilings of every choice of the modalities, as `ceilings.joints` names them."""
    members = np.array([[float(emotion in state) for emotion in EMOTIONS] for state in rules.states])
    return {name: set_ceiling(joint, members) for name, joint in joints(rules, modalities).items()}


def set_ceiling(joint: Floats, members: Floats) -> SetCeiling:
    """Of P(cell, set) [cells, sets] and which labels a set has, 0 or 1 [sets, labels]."""
    cells = distinct(joint)
    present, mass = cells @ members, cells.sum(axis=1)
    support = present.sum(axis=0)
    f1 = np.array([best_f1(label, mass) for label in present.T])
    balanced = [best_balanced_accuracy(label, mass) for label in present.T]
    return SetCeiling(
        weighted_f1=float((support * f1).sum() / support.sum()),
        balanced_accuracy=float(np.mean(balanced)),
        exact_match=float(cells.max(axis=1).sum()),
    )


def best_balanced_accuracy(present: Floats, mass: Floats) -> float:
    """Of one label: `present` [cells] is P(cell, the label is there), `mass` [cells] is P(cell)."""
    absent = mass - present
    return float(np.maximum(present / present.sum(), absent / absent.sum()).sum() / 2)


def best_f1(present: Floats, mass: Floats) -> float:
    """Of one label, over every threshold on its posterior; arguments as `best_balanced_accuracy`'s."""
    order = np.argsort(-present / mass, kind="stable")
    right, given = np.cumsum(present[order]), np.cumsum(mass[order])
    return float(np.max(2 * right / (present.sum() + given)))
