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
from trainables.standin.ceilings import Floats, Labels, ceiling, ceilings, climb, joints, weighted_f1
from trainables.standin.lexicon import emotion_of
from trainables.standin.rules import Rules, plan, rules_of

SPEC = StandInSpec()
RULES = rules_of(SPEC)
COLUMNS = {"audio": [1], "text": [0], "both": [0, 1]}


@cache
def drawn() -> tuple[Labels, Labels]:
    """What can be seen (words' and voice's emotion) [60000, 2] and the labels [60000] of drawn utterances."""
    lines = plan(SPEC.model_copy(update={"utterances": 60_000, "seed": 7}))
    seen = [(EMOTIONS.index(emotion_of(line.text)), EMOTIONS.index(line.voice)) for line in lines]
    return np.array(seen), np.array([EMOTIONS.index(line.label) for line in lines])


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


@pytest.mark.parametrize("seen", ["audio", "text", "both"])
def test_a_classifier_trained_on_what_is_seen_reaches_the_accuracy_and_no_more(seen: str) -> None:
    accuracy, f1 = learned(seen)
    bound = ceilings(RULES)[seen]
    assert accuracy == pytest.approx(bound.accuracy, abs=0.012)
    assert f1 < bound.weighted_f1 + 0.012


@pytest.mark.parametrize("seen", ["audio", "text", "both"])
def test_the_best_rule_scores_its_ceiling_on_drawn_utterances(seen: str) -> None:
    cells, labels = drawn()
    joint = joints(RULES)[seen]
    rule = max((climb(joint, start) for start in starts(joint, 12)), key=lambda rule: weighted_f1(joint, rule))
    cell = cells[:, 0] * 7 + cells[:, 1] if seen == "both" else cells[:, COLUMNS[seen][0]]
    scored = f1_score(labels, rule[cell], average="weighted", zero_division=0)
    assert scored == pytest.approx(weighted_f1(joint, rule), abs=0.008)
    assert scored == pytest.approx(ceilings(RULES)[seen].weighted_f1, abs=0.012)


@pytest.mark.parametrize("seen", ["audio", "text"])
def test_no_rule_of_all_823543_beats_the_ceiling_of_one_modality(seen: str) -> None:
    joint = joints(RULES)[seen]
    best = brute_force(joint)
    bound = ceilings(RULES)[seen].weighted_f1
    assert best <= bound + 1e-9
    assert bound <= best + 0.01  # all that tossing a coin within a cell can add


def test_no_start_leads_higher_than_the_ceiling_of_both() -> None:
    joint = joints(RULES)["both"]
    reached = max(weighted_f1(joint, climb(joint, start)) for start in starts(joint, 200))
    assert reached <= ceilings(RULES)["both"].weighted_f1 + 1e-9


def test_other_rules_have_other_ceilings() -> None:
    """With the words' errors crossing valence instead, both modalities err alike and fusing gains far less."""
    alike = ceilings(replace(RULES, words=RULES.voice))
    assert alike["text"] == alike["audio"]
    assert alike["both"].accuracy < ceilings(RULES)["both"].accuracy - 0.1
    accuracy, _ = learned("both")
    assert abs(accuracy - alike["both"].accuracy) > 0.1  # so the classifier's agreement above says something


def test_audible_words_lift_audio_to_both() -> None:
    audible, inaudible = ceilings(rules_of(StandInSpec(audible_words=True))), ceilings(RULES)
    assert audible["audio"] == audible["both"] == inaudible["both"]
    assert inaudible["audio"].accuracy < 0.6


def test_fusing_has_room_over_either_modality() -> None:
    bounds = ceilings(RULES)
    assert bounds["both"].weighted_f1 > 0.2 + max(bounds["text"].weighted_f1, bounds["audio"].weighted_f1)


@pytest.mark.parametrize(("label_noise", "expected"), [(0.0, 1.0), (0.35, 0.7)])
def test_without_errors_only_the_labels_noise_remains(label_noise: float, expected: float) -> None:
    clean = rules_of(StandInSpec(text_noise=0, prosody_noise=0, label_noise=label_noise))
    assert [bound.accuracy for bound in ceilings(clean).values()] == pytest.approx([expected] * 3)


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

    Given to class 1: both F1 are 0.7/1.0, weighted 0.7, accuracy 0.70.
    """
    joint: Floats = np.array([[0.35, 0.05], [0.25, 0.24], [0.0, 0.11]])
    bayes = joint.argmax(axis=1)
    assert weighted_f1(joint, bayes) == pytest.approx(0.6 * 1.2 / 1.49 + 0.4 * 0.22 / 0.51)
    assert climb(joint, bayes).tolist() == [0, 1, 1]
    assert astuple(ceiling(joint)) == pytest.approx((0.7, 0.71))


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


def test_the_rules_are_probabilities() -> None:
    for name, joint in joints(RULES).items():
        assert joint.shape == ((49, 7) if name == "both" else (7, 7))
        assert joint.sum() == pytest.approx(1)
    assert isinstance(RULES, Rules)
