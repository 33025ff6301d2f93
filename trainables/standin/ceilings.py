"""How well anyone can do on the stand-in: exact scores of the best decision rules, from the generating rules alone.

Nothing but `words`, `voice` and `face` tells the emotion, so that a model sees one of finitely many cells: 7 by
each of them, 49 by two, 343 by all (audio knows `words` too where they are audible: a listener could know all
that a reader knows). `joints` sums P(cell, label) over the hidden state. Cells that say the same of the labels
are one cell to a rule that may toss a coin, and are put together.

One label: accuracy's best rule is the most probable label of each cell (Bayes). Weighted F1 is no sum over
cells, so its best rule may be another: it is searched by coordinate ascent from many starts (each cell in equal
parts that may be labelled differently, since a rule that tosses a coin can be better; also a model that sees
more than the cell, such as the speaker, can toss it). Several labels: `set_ceilings`.

A ceiling bounds the score expected over all utterances; on a test split of 250 a score scatters about it by some
0.03.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trainables.spec.base import MODALITIES, Modality, in_order
from trainables.standin.rules import Rules

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

PARTS = 150
"""Into so many parts all cells together are cut for the search, each into as many as any other."""
STARTS = 12


@dataclass(frozen=True)
class Ceiling:
    """Both scores in [0, 1], each of the rule that is best for it."""

    weighted_f1: float
    accuracy: float


def ceilings(rules: Rules, modalities: Sequence[Modality] = MODALITIES) -> dict[str, Ceiling]:
    """The ceilings of every choice of the modalities, as `joints` names them."""
    return {name: ceiling(cells) for name, cells in joints(rules, modalities).items()}


def joints(rules: Rules, modalities: Sequence[Modality] = MODALITIES) -> dict[str, Floats]:
    """P(cell, state written) as [cells, states] by what is seen: `audio`, `audio+text`, ... in MODALITIES' order.

    The cells of several channels count the words slowest and the face fastest.
    """
    read = in_order(modalities)
    choices = [choice for size in range(1, len(read) + 1) for choice in combinations(read, size)]
    return {"+".join(choice): _joint(rules, choice) for choice in choices}


def distinct(joint: Floats) -> Floats:
    """The cells that can occur, those of equal posteriors put together: [fewer cells, states]."""
    rows = joint[joint.sum(axis=1) > 0]
    posterior = np.round(rows / rows.sum(axis=1, keepdims=True), 9)
    _, group = np.unique(posterior, axis=0, return_inverse=True)
    together: Floats = np.zeros((group.max() + 1, joint.shape[1]))
    np.add.at(together, group.ravel(), rows)
    return together


def _joint(rules: Rules, seen: Sequence[Modality]) -> Floats:
    told = {"words": "text" in seen or ("audio" in seen and rules.audible), "voice": "audio" in seen}
    told["face"] = "visual" in seen
    cells: Floats = np.ones((len(rules.prior), 1))
    for channel in (name for name, known in told.items() if known):
        shown = np.asarray(getattr(rules, channel))
        cells = (cells[:, :, None] * shown[:, None, :]).reshape(len(cells), -1)
    joint: Floats = (np.asarray(rules.prior)[:, None] * cells).T @ np.asarray(rules.label)
    return joint


def ceiling(joint: Floats) -> Ceiling:
    """The ceiling over decision rules that see a cell of `joint` [cells, labels]."""
    cells = distinct(joint)
    count = max(1, PARTS // len(cells))
    parts = np.repeat(cells, count, axis=0) / count
    best = max(weighted_f1(parts, climb(parts, start)) for start in _starts(parts))
    return Ceiling(weighted_f1=best, accuracy=float(joint.max(axis=1).sum()))


def weighted_f1(joint: Floats, rule: Labels) -> float:
    """The weighted F1, over all utterances there could be, of giving cell `c` the label `rule[c]`."""
    return float(_terms(joint.sum(axis=0), *_masses(joint, rule)).sum())


def climb(joint: Floats, start: Labels) -> Labels:
    """Relabel one cell at a time, each to its best label, until no single change raises the weighted F1."""
    rule, support, mass = start.copy(), joint.sum(axis=0), joint.sum(axis=1)
    right, given = _masses(joint, rule)
    moved = True
    while moved:
        moved = False
        for cell, row in enumerate(joint):
            old = rule[cell]
            right[old] -= row[old]
            given[old] -= mass[cell]
            gain: Floats = _terms(support, right + row, given + mass[cell]) - _terms(support, right, given)
            new = int(np.argmax(gain))
            if gain[new] <= gain[old] + 1e-12:
                new = int(old)
            moved |= new != old
            rule[cell] = new
            right[new] += row[new]
            given[new] += mass[cell]
    return rule


def _masses(joint: Floats, rule: Labels) -> tuple[Floats, Floats]:
    """By label, the probability that the rule gives it rightly, and that the rule gives it at all."""
    right, given = np.zeros(joint.shape[1]), np.zeros(joint.shape[1])
    np.add.at(right, rule, joint[np.arange(len(rule)), rule])
    np.add.at(given, rule, joint.sum(axis=1))
    return right, given


def _terms(support: Floats, right: Floats, given: Floats) -> Floats:
    """Each class's share of the weighted F1: its support times 2·right / (support + given)."""
    return 2 * support * right / (support + given)


def _starts(joint: Floats) -> list[Labels]:
    """The most probable label with the prior weighed less and less, then rules at random."""
    chance, prior = np.random.default_rng(0), joint.sum(axis=0)
    leaning = [np.argmax(joint / prior**power, axis=1) for power in (0.0, 0.5, 1.0)]
    return leaning + [chance.integers(joint.shape[1], size=len(joint)) for _ in range(STARTS)]
