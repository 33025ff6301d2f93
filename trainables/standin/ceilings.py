"""How well anyone can do on the stand-in: exact scores of the best decision rules, from the generating rules alone.

Nothing but `words` and `voice` tells the emotion, so a model sees one of finitely many cells: 7 by text, 7
by audio (49 where the words are audible: a listener could know all that a reader knows), 49 by both.
`joint` sums P(cell, label) over the hidden emotion. Accuracy's best rule is the most probable label of each
cell (Bayes). Weighted F1 is no sum over cells, so its best rule may be another: it is searched by
coordinate ascent from many starts (each cell in equal parts that may be labelled differently, since a rule
that tosses a coin can be better; also a model that sees more than the cell, such as the speaker, can toss
it).

A ceiling bounds the score expected over all utterances; on a test split of 250 a score scatters about it by some
0.03.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.standin.rules import Rules

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

PARTS = {7: 12, 49: 3}
"""Into how many equal parts a cell is cut for the search, by the number of cells."""
STARTS = 12


@dataclass(frozen=True)
class Ceiling:
    """Both scores in [0, 1], each of the rule that is best for it."""

    weighted_f1: float
    accuracy: float


def ceilings(rules: Rules) -> dict[str, Ceiling]:
    """The ceilings of `audio`, `text`, and `both`."""
    return {name: ceiling(cells) for name, cells in joints(rules).items()}


def joints(rules: Rules) -> dict[str, Floats]:
    """P(cell, label) as [cells, 7] by what is seen; `both` has cell 7·words + voice."""
    prior, words, voice, label = (
        np.asarray(table) for table in (rules.prior, rules.words, rules.voice, rules.label)
    )
    both = np.einsum("y,yw,yp,yl->wpl", prior, words, voice, label).reshape(-1, len(prior))
    return {
        "audio": both if rules.audible else np.einsum("y,yp,yl->pl", prior, voice, label),
        "text": np.einsum("y,yw,yl->wl", prior, words, label),
        "both": both,
    }


def ceiling(joint: Floats) -> Ceiling:
    """The ceiling over decision rules that see a cell of `joint` [cells, labels]."""
    parts = np.repeat(joint, PARTS.get(len(joint), 1), axis=0) / PARTS.get(len(joint), 1)
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
