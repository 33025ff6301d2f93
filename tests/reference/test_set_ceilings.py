"""The stand-in's ceilings with several labels against brute force and classifiers trained on drawn utterances."""

from __future__ import annotations

from dataclasses import astuple
from functools import cache
from itertools import product

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score

from trainables.spec import EMOTIONS, StandInSpec
from trainables.standin.ceilings import Floats, Labels, joints
from trainables.standin.rules import SETS, plan, rules_of
from trainables.standin.set_ceilings import best_balanced_accuracy, best_f1, set_ceiling, set_ceilings

SPEC = StandInSpec(several=True)
RULES = rules_of(SPEC)
BOUNDS = set_ceilings(RULES)
COLUMNS = {"audio": [1], "text": [0], "visual": [2], "audio+text": [0, 1], "audio+text+visual": [0, 1, 2]}


@cache
def drawn() -> tuple[Labels, Labels]:
    """What can be seen (words', voice's, face's emotion) [60000, 3] and each label [60000, 7] of drawn lines."""
    lines = plan(SPEC.model_copy(update={"utterances": 60_000, "seed": 7}))
    seen = [tuple(map(EMOTIONS.index, (line.words, line.voice, line.face))) for line in lines]
    return np.array(seen), np.array([[int(emotion in line.labels) for emotion in EMOTIONS] for line in lines])


def test_there_is_a_ceiling_for_every_choice_of_what_is_read() -> None:
    assert list(BOUNDS) == list(joints(RULES)) and len(BOUNDS) == 7
    assert {name: joint.shape for name, joint in joints(RULES).items()} == {
        name: (7 ** len(name.split("+")), 22) for name in BOUNDS
    }


@pytest.mark.parametrize("seen", COLUMNS)
def test_the_joint_tables_are_those_of_drawn_utterances(seen: str) -> None:
    """Of cells and each pair of labels, the set being too fine to count."""
    joint = joints(RULES)[seen]
    members = np.array([[float(emotion in state) for emotion in EMOTIONS] for state in SETS])
    expected = joint @ (members[:, :, None] * members[:, None, :]).reshape(22, 49)
    cells, labels = drawn()
    columns = cells[:, COLUMNS[seen]]
    cell = columns @ 7 ** np.arange(columns.shape[1])[::-1]
    counts = np.zeros(expected.shape)
    np.add.at(counts, cell, (labels[:, :, None] * labels[:, None, :]).reshape(-1, 49))
    spread = np.sqrt(expected * (1 - expected) / len(labels))
    assert (np.abs(counts / len(labels) - expected) <= 5 * spread + 4 / len(labels)).all()


@pytest.mark.parametrize("seen", COLUMNS)
def test_a_classifier_trained_on_what_is_seen_comes_near_and_not_beyond(seen: str) -> None:
    """By scikit-learn's trees: balanced by weighing, F1 at the best threshold of a grid, sets as classes."""
    cells, labels = drawn()
    hot = np.eye(7)[cells[:, COLUMNS[seen]]].reshape(len(cells), -1)
    half = len(cells) // 2
    balanced, scores = [], []
    for label in range(7):
        model = ExtraTreesClassifier(10, min_samples_leaf=20, class_weight="balanced", random_state=0)
        model.fit(hot[:half], labels[:half, label])
        likely = model.predict_proba(hot[half:])[:, 1]
        balanced.append(balanced_accuracy_score(labels[half:, label], likely >= 0.5))
        scores.append(max(f1_score(labels[half:, label], likely >= level) for level in np.linspace(0, 0.95, 39)))
    assert np.mean(balanced) == pytest.approx(BOUNDS[seen].balanced_accuracy, abs=0.012)
    support = labels[half:].sum(axis=0)
    assert np.average(scores, weights=support) == pytest.approx(BOUNDS[seen].weighted_f1, abs=0.012)
    sets = labels @ 2 ** np.arange(7)
    whole = ExtraTreesClassifier(10, min_samples_leaf=20, random_state=0).fit(hot[:half], sets[:half])
    assert whole.score(hot[half:], sets[half:]) == pytest.approx(BOUNDS[seen].exact_match, abs=0.012)


@pytest.mark.parametrize("seed", range(8))
def test_no_rule_of_all_beats_the_best_and_one_meets_it(seed: int) -> None:
    chance = np.random.default_rng(seed)
    mass = chance.dirichlet(np.ones(9))
    present = mass * chance.random(9)
    rules = np.array(list(product((0.0, 1.0), repeat=9)))
    right, given = rules @ present, rules @ mass
    f1 = 2 * right / (present.sum() + given)
    balanced = (right / present.sum() + (1 - rules) @ (mass - present) / (mass - present).sum()) / 2
    assert best_f1(present, mass) == pytest.approx(f1.max())
    assert best_balanced_accuracy(present, mass) == pytest.approx(balanced.max())


def test_two_labels_by_hand() -> None:
    """Three sets {a}, {b}, {a, b} in two cells: 0.4, 0.0, 0.1 and 0.1, 0.3, 0.1.

    Label a: 0.5 and 0.2 of 0.5 and 0.5, support 0.7. Given in both cells: F1 = 1.4 / 1.7; in the first alone:
    1.0 / 1.2, the better. Balanced: 5/7 in the first, 3/3 of the absent in the second: (5/7 + 1) / 2 = 6/7.
    Label b: 0.1 and 0.4, support 0.5. In the second cell alone: F1 = 0.8 / 1.0; balanced (0.4/0.5 + 0.4/0.5) / 2.
    Sets: 0.4 of {a} in the first, 0.3 of {b} in the second.
    """
    joint: Floats = np.array([[0.4, 0.0, 0.1], [0.1, 0.3, 0.1]])
    members: Floats = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    weighted = (0.7 * 1.0 / 1.2 + 0.5 * 0.8) / 1.2
    assert astuple(set_ceiling(joint, members)) == pytest.approx((weighted, (6 / 7 + 0.8) / 2, 0.7))


def test_more_modalities_tell_more() -> None:
    for fewer, more in product(BOUNDS, BOUNDS):
        if set(fewer.split("+")) < set(more.split("+")):
            low, high = astuple(BOUNDS[fewer]), astuple(BOUNDS[more])
            assert all(a + 0.03 < b for a, b in zip(low, high, strict=True))


def test_without_errors_two_channels_still_show_one_emotion_of_two_now_and_then() -> None:
    clean = StandInSpec(several=True, text_noise=0, prosody_noise=0, face_noise=0, label_noise=0)
    bounds = set_ceilings(rules_of(clean))
    prior = dict(zip(SETS, rules_of(clean).prior, strict=True))
    single = sum(chance for state, chance in prior.items() if len(state) == 1)
    # An utterance of two emotions shows both of them in two channels with probability 1/2, in three with 3/4.
    assert bounds["audio+text"].exact_match == pytest.approx(single + (1 - single) / 2)
    assert bounds["audio+text+visual"].exact_match == pytest.approx(single + (1 - single) * 3 / 4)
