"""Which train rows a method holds out: a function of the rows alone, so that every trial holds out the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from trainables.errors import CorpusError
from trainables.folds import drawn_dev

Positions = npt.NDArray[np.int64]


def held_out(dialogues: Sequence[str], labels: Sequence[int], share: float) -> Positions:
    """Positions, ascending, of about `share` of the rows, near in class shares, and every class left to train on.

    Whole dialogues where that can be had: between half and one and a half of what is wanted, and every class on
    both sides. Else by class: of each about that share, at least one where it has two. CorpusError where none has.
    """
    label = np.asarray(labels)
    chosen = _by_dialogue(dialogues, label, share)
    within = 0.5 * share <= len(chosen) / len(label) <= 1.5 * share
    if not within or set(label[chosen]) != set(np.delete(label, chosen)):
        chosen = _by_class(label, share)
    if not len(chosen):
        raise CorpusError(f"{len(label)} train rows, at most one of each class: none can be held out")
    return chosen


def _by_dialogue(dialogues: Sequence[str], label: npt.NDArray[np.int64], share: float) -> Positions:
    names = [str(one) for one in label]
    splits = drawn_dev([-1] * len(label), dialogues, names, folds=1, share=share)
    return np.flatnonzero([row[0] == "dev" for row in splits]).astype(np.int64)


def _by_class(label: npt.NDArray[np.int64], share: float) -> Positions:
    rng, chosen = np.random.default_rng(0), [np.empty(0, dtype=np.int64)]
    for one in np.unique(label):
        members = np.flatnonzero(label == one)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen.append(rng.permutation(members)[:count])
    return np.sort(np.concatenate(chosen))
