"""The stand-in's ceilings against brute force, hand-worked rules, and classifiers trained on drawn utterances."""

from __future__ import annotations

from dataclasses import astuple, replace
from functools import cache
from itertools import product

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.tree import DecisionTreeClassifier

from trainables.spec import EMOTIONS, StandInSpec
from trainables.spec.base import Modality
from trainables.standin.ceilings import Floats, Labels, ceiling, ceilings, climb, distinct, joints, weighted_f1
from trainables.standin.lexicon import emotion_of
from trainables.standin.rules import plan, rules_of

SPEC = StandInSpec()
RULES = rules_of(SPEC)
COLUMNS = {
    "audio": [1],
    "text": [0],
    "visual": [2],
    "audio+text": [0, 1],
    "audio+visual": [1, 2],
    "text+visual": [0, 2],
    "audio+text+visual": [0, 1, 2],
}
BOUNDS = ceilings(RULES)
COIN = 0.013  # about all that tossing a coin within a cell adds to the weighted F1


@cache
def drawn() -> tuple[Labels, Labels]:
    """What can be seen (words', voice's, face's emotion) [60000, 3] and the labels [60000] of drawn utterances."""
    lines = plan(SPEC.model_copy(update={"utterances": 60_000, "seed": 7}))
    seen = [tuple(map(EMOTIONS.index, (emotion_of(line.text), line.voice, line.face))) for line in lines]
    return np.array(seen), np.array([EMOTIONS.index(line.label) for line in lines])


def cell_of(cells: Labels, seen: str) -> Labels:
    """The row of `joints()[seen]` for each of `cells` [samples, 3]."""
    columns = cells[:, COLUMNS[seen]]
    return np.asarray(columns @ 7 ** np.arange(columns.shape[1])[::-1])


def learned(seen: str) -> tuple[float, float]:
    """Accuracy and weighted F1, on the half not learned from, of a tree over the cells."""
    cells, labels = drawn()
    hot = np.eye(7)[cells[:, COLUMNS[seen]]].reshape(len(cells), -1)
    half = len(cells) // 2
    given = DecisionTreeClassifier(min_samples_leaf=20, random_state=0).fit(hot[:half], labels[:half])
    predicted = given.predict(hot[half:])
    return (
        accuracy_score(labels[half:], predicted),
        f1_score(labels[half:], predicted, average="weighted", zero_division=0),
    )


def test_there_is_a_ceiling_for_every_choice_of_what_is_read() -> None:
    assert list(BOUNDS) == list(COLUMNS)
    assert list(ceilings(RULES, ("visual", "audio"))) == ["audio", "visual", "audio+visual"]
    assert ceilings(RULES, ("text",)) == {"text": BOUNDS["text"]}


@pytest.mark.parametrize("seen", COLUMNS)
def test_the_joint_tables_are_those_of_drawn_utterances(seen: str) -> None:
    joint = joints(RULES)[seen]
    assert joint.shape == (7 ** len(COLUMNS[seen]), 7) and joint.sum() == pytest.approx(1)
    cells, labels = drawn()
    counts = np.zeros(joint.shape)
    np.add.at(counts, (cell_of(cells, seen), labels), 1)
    spread = np.sqrt(joint * (1 - joint) / len(labels))
    assert (np.abs(counts / len(labels) - joint) <= 5 * spread + 4 / len(labels)).all()


@pytest.mark.parametrize("seen", COLUMNS)
def test_a_classifier_trained_on_what_is_seen_reaches_the_accuracy_and_no_more(seen: str) -> None:
    accuracy, f1 = learned(seen)
    bound = BOUNDS[seen]
    assert accuracy == pytest.approx(bound.accuracy, abs=0.012)
    assert f1 < bound.weighted_f1 + 0.012


@pytest.mark.parametrize("seen", COLUMNS)
def test_the_best_rule_scores_its_ceiling_on_drawn_utterances(seen: str) -> None:
    cells, labels = drawn()
    joint = joints(RULES)[seen]
    rule = max((climb(joint, start) for start in starts(joint, 8)), key=lambda rule: weighted_f1(joint, rule))
    scored = f1_score(labels, rule[cell_of(cells, seen)], average="weighted", zero_division=0)
    assert scored == pytest.approx(weighted_f1(joint, rule), abs=0.008)
    assert -1e-9 <= BOUNDS[seen].weighted_f1 - weighted_f1(joint, rule) < COIN


@pytest.mark.parametrize("seen", ["audio", "text", "visual"])
def test_no_rule_of_all_823543_beats_the_ceiling_of_one_modality(seen: str) -> None:
    best = brute_force(joints(RULES)[seen])
    bound = BOUNDS[seen].weighted_f1
    assert best <= bound + 1e-9
    assert bound <= best + COIN


@pytest.mark.parametrize("seen", ["audio+text", "audio+visual", "text+visual", "audio+text+visual"])
def test_no_start_leads_higher_than_the_ceiling(seen: str) -> None:
    """From the cells as they are drawn, none put together and none cut."""
    joint = joints(RULES)[seen]
    joint = joint[joint.sum(axis=1) > 0]
    reached = max(weighted_f1(joint, climb(joint, start)) for start in starts(joint, 40))
    assert reached <= BOUNDS[seen].weighted_f1 + 1e-9


def test_more_modalities_tell_more() -> None:
    for fewer, more in product(BOUNDS, BOUNDS):
        if set(fewer.split("+")) < set(more.split("+")):
            assert BOUNDS[more].weighted_f1 > 0.1 + BOUNDS[fewer].weighted_f1


def test_all_three_leave_the_labels_noise_alone() -> None:
    """No two emotions are of one group in all three channels: what is shown tells the emotion without error."""
    assert BOUNDS["audio+text+visual"].accuracy == pytest.approx(0.95 + 0.05 / 7)
    assert len(distinct(joints(RULES)["audio+text+visual"])) == 7


def test_other_rules_have_other_ceilings() -> None:
    """With the words' errors crossing valence instead, both modalities err alike and fusing gains far less."""
    alike = ceilings(replace(RULES, words=RULES.voice))
    assert alike["text"] == alike["audio"]
    assert alike["audio+text"].accuracy < BOUNDS["audio+text"].accuracy - 0.1
    accuracy, _ = learned("audio+text")
    assert abs(accuracy - alike["audio+text"].accuracy) > 0.1  # so the agreement above says something


def test_audible_words_lift_audio_to_both() -> None:
    audible = ceilings(rules_of(StandInSpec(audible_words=True)))
    assert audible["audio"] == audible["audio+text"] == BOUNDS["audio+text"]
    assert audible["audio+visual"] == BOUNDS["audio+text+visual"]
    assert BOUNDS["audio"].accuracy < 0.6


@pytest.mark.parametrize(("label_noise", "expected"), [(0.0, 1.0), (0.35, 0.7)])
def test_without_errors_only_the_labels_noise_remains(label_noise: float, expected: float) -> None:
    clean = rules_of(StandInSpec(text_noise=0, prosody_noise=0, face_noise=0, label_noise=label_noise))
    assert [bound.accuracy for bound in ceilings(clean).values()] == pytest.approx([expected] * 7)


def test_two_classes_by_hand() -> None:
    """Cell 0 holds 0.6 of class 0 and 0.1 of class 1, cell 1 holds 0.1 and 0.2.

    Truthful rule: F1 = 2·0.6/(0.7 + 0.7) = 6/7 and 2·0.2/(0.3 + 0.3) = 2/3; weighted 0.7·6/7 + 0.3·2/3 = 0.8.
    """
    joint: Floats = np.array([[0.6, 0.1], [0.1, 0.2]])
    assert weighted_f1(joint, np.array([0, 1])) == pytest.approx(0.8)
    assert weighted_f1(joint, np.array([0, 0])) == pytest.approx(0.7 * 1.4 / 1.7)
    assert astuple(ceiling(joint)) == pytest.approx((0.8, 0.8))


def test_weighted_f1_can_prefer_another_rule_than_accuracy() -> None:
    """Cell 1 is class 0's by a hair. Given to it: F1 1.2/1.49 and 0.22/0.51, weighted 0.656, accuracy 0.71.

    Given to class 1: both F1 are 0.7/1.0, weighted 0.7, accuracy 0.70. A coin within the cells can add little.
    """
    joint: Floats = np.array([[0.35, 0.05], [0.25, 0.24], [0.0, 0.11]])
    bayes = joint.argmax(axis=1)
    assert weighted_f1(joint, bayes) == pytest.approx(0.6 * 1.2 / 1.49 + 0.4 * 0.22 / 0.51)
    assert climb(joint, bayes).tolist() == [0, 1, 1]
    assert ceiling(joint).accuracy == pytest.approx(0.71)
    assert ceiling(joint).weighted_f1 == pytest.approx(tossed(joint), abs=1e-4)
    assert 0.7 <= ceiling(joint).weighted_f1 < 0.71


def test_cells_that_say_the_same_are_one_and_those_that_never_occur_none() -> None:
    joint: Floats = np.array([[0.2, 0.1], [0.0, 0.0], [0.4, 0.2], [0.0, 0.1]])
    together = distinct(joint)
    assert together[np.argsort(together[:, 0])].tolist() == [pytest.approx([0.0, 0.1]), pytest.approx([0.6, 0.3])]


def starts(joint: Floats, count: int) -> list[Labels]:
    chance = np.random.default_rng(3)
    return [joint.argmax(axis=1), *(chance.integers(7, size=len(joint)) for _ in range(count))]


def brute_force(joint: Floats) -> float:
    """The best weighted F1 over every rule from seven cells to seven labels."""
    rules = np.array(list(product(range(7), repeat=7)))
    support, mass, cells = joint.sum(axis=0), joint.sum(axis=1), np.arange(7)
    total = np.zeros(len(rules))
    for label in range(7):
        given = rules == label
        right = given @ joint[cells, label]
        total += 2 * support[label] * right / (support[label] + given @ mass)
    return float(total.max())


def tossed(joint: Floats) -> float:
    """The best weighted F1 of two labels, each cell given the first with one of 51 probabilities."""
    shares = np.array(list(product(np.linspace(0, 1, 51), repeat=len(joint))))
    support, mass = joint.sum(axis=0), joint.sum(axis=1)
    total = np.zeros(len(shares))
    for label, given in enumerate((shares, 1 - shares)):
        total += 2 * support[label] * (given @ joint[:, label]) / (support[label] + given @ mass)
    return float(total.max())


@pytest.mark.parametrize("unread", ["audio", "text", "visual"])
def test_what_is_not_read_bears_on_nothing(unread: Modality) -> None:
    rest = [modality for modality in ("audio", "text", "visual") if modality != unread]
    deaf = {"audio": "voice", "text": "words", "visual": "face"}[unread]
    uniform = tuple((1 / 7,) * 7 for _ in EMOTIONS)
    assert ceilings(replace(RULES, **{deaf: uniform}), rest) == ceilings(RULES, rest)  # type: ignore[arg-type]
