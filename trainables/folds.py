"""Cross-validation as data: the split of every row in every fold, a function of the rows alone.

Test is one group (a session, a speaker) out in turn. Dev is either the next group, or whole dialogues of the rest,
drawn so that their classes come nearest to the rest's: no dialogue is ever in two splits of a fold.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

DRAWS = 200
"""Seeded draws of dev dialogues, of which the one nearest in its class shares is taken."""


def gather(groups: Sequence[str], folds: int) -> list[int]:
    """The fold in which each row is tested: the sorted groups are dealt out in turn. ValueError with too few."""
    names = sorted(set(groups))
    if len(names) < folds:
        raise ValueError(f"{folds} folds of {len(names)} groups ({', '.join(names)}); give at most {len(names)}")
    number = {name: index % folds for index, name in enumerate(names)}
    return [number[group] for group in groups]


def next_is_dev(tested: Sequence[int], folds: int) -> list[list[str]]:
    """[rows][folds]: test where the row's own number is the fold's, dev where it is the next one's, else train."""
    return [[_of(own, fold, (fold + 1) % folds) for fold in range(folds)] for own in tested]


def paired_dev(tested: Sequence[int], partner: Mapping[int, int], folds: int) -> list[list[str]]:
    """[rows][folds]: dev is the number that is the tested one's partner (the other speaker of a session)."""
    return [[_of(own, fold, partner[fold]) for fold in range(folds)] for own in tested]


def drawn_dev(
    tested: Sequence[int], dialogues: Sequence[str], labels: Sequence[str], folds: int, share: float = 0.1
) -> list[list[str]]:
    """[rows][folds]: dev is whole dialogues of the rows not tested, about `share` of them, near in class shares."""
    columns = []
    for fold in range(folds):
        rest = [i for i, own in enumerate(tested) if own != fold]
        dev = _draw([dialogues[i] for i in rest], [labels[i] for i in rest], share, fold)
        columns.append(
            [
                "test" if own == fold else "dev" if name in dev else "train"
                for own, name in zip(tested, dialogues, strict=True)
            ]
        )
    return [list(row) for row in zip(*columns, strict=True)]


def _of(own: int, test: int, dev: int) -> str:
    return "test" if own == test else "dev" if own == dev else "train"


def _draw(dialogues: Sequence[str], labels: Sequence[str], share: float, seed: int) -> set[str]:
    whole, counts = Counter(labels), dict[str, Counter[str]]()
    for name, label in zip(dialogues, labels, strict=True):
        counts.setdefault(name, Counter())[label] += 1
    rng, best, wanted = random.Random(seed), set[str](), share * len(labels)
    least = float("inf")
    for _ in range(DRAWS):
        names = sorted(counts)
        rng.shuffle(names)
        chosen, found = set[str](), Counter[str]()
        for name in names:
            if found.total() >= wanted or len(chosen) == len(names) - 1:
                break
            chosen.add(name)
            found += counts[name]
        # Distance between the shares of the classes, and of the size from what is wanted.
        distance = sum(abs(found[c] / found.total() - whole[c] / whole.total()) for c in whole) if found else 9.0
        distance += abs(found.total() - wanted) / max(wanted, 1.0)
        if distance < least:
            least, best = distance, chosen
    return best
