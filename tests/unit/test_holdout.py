from __future__ import annotations

import numpy as np
import pytest

from trainables.errors import CorpusError
from trainables.meta_learning.holdout import held_out

LABELS = [0, 1, 2, 0, 1] * 60
DIALOGUES = [f"d{i // 10}" for i in range(300)]


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_whole_dialogues_near_in_size_and_classes(share: float) -> None:
    chosen = held_out(DIALOGUES, LABELS, share)
    assert 0.5 * share * 300 <= len(chosen) <= 1.5 * share * 300
    names = {DIALOGUES[i] for i in chosen}
    assert sorted(chosen) == chosen.tolist() == [i for i in range(300) if DIALOGUES[i] in names]
    shares = np.bincount(np.asarray(LABELS)[chosen], minlength=3) / len(chosen)
    np.testing.assert_allclose(shares, [0.4, 0.4, 0.2], atol=0.1)


@pytest.mark.parametrize("dialogues", [["one"] * 300, [f"d{i // 100}" for i in range(300)]])
def test_by_class_where_dialogues_are_too_large(dialogues: list[str]) -> None:
    chosen = held_out(dialogues, LABELS, 0.05)
    assert np.bincount(np.asarray(LABELS)[chosen]).tolist() == [6, 6, 3]


def test_a_class_of_one_dialogue_is_still_trained_on() -> None:
    labels = [2 if i // 10 == 7 else 0 for i in range(300)]
    chosen = held_out(DIALOGUES, labels, 0.1)
    held, kept = np.asarray(labels)[chosen], np.delete(np.asarray(labels), chosen)
    assert set(held) == set(kept) == {0, 2}


def test_the_last_row_of_a_class_is_not_held_out() -> None:
    assert held_out(["d"] * 5, [0, 0, 0, 1, 2], 0.05).tolist() in ([0], [1], [2])
    with pytest.raises(CorpusError, match="3 train rows, at most one of each class"):
        held_out(["d"] * 3, [0, 1, 2], 0.1)


def test_it_is_a_function_of_the_rows() -> None:
    assert held_out(DIALOGUES, LABELS, 0.05).tolist() == held_out(DIALOGUES, LABELS, 0.05).tolist()
