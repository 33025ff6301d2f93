"""Classes, populations and soft labels of IEMOCAP."""

from __future__ import annotations

from typing import Any

import pytest

from trainables.importers.iemocap_labels import CODES, classes, population, shares
from trainables.spec import IemocapSpec

FOUR = ("neutral", "anger", "sadness", "happiness")
SIX = ("happiness", "sadness", "neutral", "anger", "excitement", "frustration")


@pytest.mark.parametrize(
    ("fields", "labels", "happiness", "used"),
    [
        ({}, FOUR, {"hap", "exc"}, "neu ang sad hap exc"),
        ({"happiness": "alone"}, FOUR, {"hap"}, "neu ang sad hap"),
        ({"happiness": "excitement"}, FOUR, {"exc"}, "neu ang sad exc"),
        ({"classes": 6}, SIX, {"hap"}, "neu ang sad hap exc fru"),
    ],
)
def test_the_classes_of_a_spec(
    fields: dict[str, Any], labels: tuple[str, ...], happiness: set[str], used: str
) -> None:
    chosen = classes(IemocapSpec(**fields))
    assert chosen.labels == labels
    assert {code for code, label in chosen.of.items() if label == "happiness"} == happiness
    assert chosen.of.keys() == set(used.split()) <= set(CODES)
    assert set(chosen.of.values()) == set(labels)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 5531),
        ({"happiness": "alone"}, 4490),
        ({"happiness": "excitement"}, 4936),
        ({"part": "improvised"}, 2943),
        ({"classes": 6}, 7380),
        ({"classes": 6, "part": "improvised"}, None),
        ({"happiness": "alone", "part": "improvised"}, None),
        ({"protocol": "speaker"}, 5531),
    ],
)
def test_the_published_number_of_utterances(fields: dict[str, Any], rows: int | None) -> None:
    assert population(IemocapSpec(**fields)) == rows


@pytest.mark.parametrize(
    ("votes", "fields", "expected"),
    [
        (["neu", "neu", "sad"], {}, [2 / 3, 0, 1 / 3, 0]),
        (["hap", "exc", "neu"], {}, [1 / 3, 0, 0, 2 / 3]),  # the two are one class
        (["ang", "ang sad"], {}, [0, 0.75, 0.25, 0]),  # several categories share their rater's vote
        (["hap exc", "neu"], {}, [0.5, 0, 0, 0.5]),
        (["ang", "fru", "neu"], {}, [0.5, 0.5, 0, 0]),  # not in use: dropped, the rest is all
        (["ang fru", "neu"], {}, [2 / 3, 1 / 3, 0, 0]),
        (["hap", "exc"], {"happiness": "alone"}, [0, 0, 0, 1]),
        (["exc", "neu"], {"happiness": "excitement"}, [0.5, 0, 0, 0.5]),
        (["hap", "exc", "fru", "neu"], {"classes": 6}, [0.25, 0, 0.25, 0, 0.25, 0.25]),
        (["fru", "oth", "sur dis fea"], {}, None),
        ([], {}, None),
    ],
)
def test_soft_labels(votes: list[str], fields: dict[str, Any], expected: list[float] | None) -> None:
    found = shares([frozenset(vote.split()) for vote in votes], classes(IemocapSpec(**fields)))
    assert found is None if expected is None else found == pytest.approx(expected)
