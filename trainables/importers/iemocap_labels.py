"""IEMOCAP's codes and categories, the classes that a spec makes of them, and soft labels from the raters' votes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from trainables.spec import IemocapSpec

CODES = ("ang", "hap", "sad", "neu", "exc", "fru", "fea", "sur", "dis", "oth", "xxx")
"""The consensus labels of the release; `xxx`: no majority among the raters."""
CATEGORIES = {
    "neutral": "neu",
    "neutral state": "neu",
    "anger": "ang",
    "sadness": "sad",
    "happiness": "hap",
    "excited": "exc",
    "frustration": "fru",
    "fear": "fea",
    "surprise": "sur",
    "disgust": "dis",
    "other": "oth",
}
"""What one rater may say, in lower case, as a code."""
FOUR = ("neutral", "anger", "sadness", "happiness")
SIX = ("happiness", "sadness", "neutral", "anger", "excitement", "frustration")
_HAPPINESS = {"with_excitement": ("hap", "exc"), "alone": ("hap",), "excitement": ("exc",)}
_POPULATIONS = {
    (4, "with_excitement", "all"): 5531,
    (4, "alone", "all"): 4490,
    (4, "excitement", "all"): 4936,
    (4, "with_excitement", "improvised"): 2943,
    (6, "with_excitement", "all"): 7380,
}


@dataclass(frozen=True)
class Classes:
    """The labels in their order, and the label of each code in use."""

    labels: tuple[str, ...]
    of: Mapping[str, str]


def classes(spec: IemocapSpec) -> Classes:
    """The codes that are not in use have no label: their utterances are left out."""
    of = {"neu": "neutral", "ang": "anger", "sad": "sadness"}
    if spec.classes == 6:
        return Classes(SIX, of | {"hap": "happiness", "exc": "excitement", "fru": "frustration"})
    return Classes(FOUR, of | dict.fromkeys(_HAPPINESS[spec.happiness], "happiness"))


def population(spec: IemocapSpec) -> int | None:
    """The published number of utterances of this choice of classes, None where none is known."""
    return _POPULATIONS.get((spec.classes, spec.happiness, spec.part))


def shares(votes: Iterable[Collection[str]], chosen: Classes) -> list[float] | None:
    """The share of the raters' votes for each label, summing to 1; None where no vote is for any of them.

    Each rater has one vote, parted equally among the codes that they named. What goes to a code that is not in use
    is dropped and the rest scaled to sum to 1, so that a soft label has the classes of the hard one.
    """
    sums = dict.fromkeys(chosen.labels, 0.0)
    for codes in votes:
        for code in sorted(codes):
            if code in chosen.of:
                sums[chosen.of[code]] += 1 / len(codes)
    total = sum(sums.values())
    return [value / total for value in sums.values()] if total else None
