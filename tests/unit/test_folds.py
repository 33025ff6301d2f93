"""Folds: every row is tested once, dev is what the protocol says, and no dialogue is in two splits."""

from __future__ import annotations

from collections import Counter

import pytest

from trainables.folds import drawn_dev, gather, next_is_dev, paired_dev


def test_groups_are_dealt_out_in_turn() -> None:
    assert gather(["b", "a", "c", "a"], 2) == [1, 0, 0, 0]


def test_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="3 folds of 2 groups"):
        gather(["a", "b"], 3)


def test_the_next_fold_is_dev() -> None:
    assert next_is_dev([0, 1, 2], 3) == [
        ["test", "train", "dev"],
        ["dev", "test", "train"],
        ["train", "dev", "test"],
    ]


def test_the_partner_is_dev() -> None:
    assert paired_dev([0, 1], {0: 1, 1: 0}, 2) == [["test", "dev"], ["dev", "test"]]


def test_drawn_dev_takes_whole_dialogues_of_like_classes() -> None:
    tested = [i // 100 for i in range(300)]
    dialogues = [f"d{i // 5}" for i in range(300)]
    labels = ["rare" if i % 5 == 0 else "common" for i in range(300)]
    splits = drawn_dev(tested, dialogues, labels, 3, share=0.1)
    for fold in range(3):
        column = [row[fold] for row in splits]
        assert all((own == fold) == (split == "test") for own, split in zip(tested, column, strict=True))
        homes: dict[str, set[str]] = {}
        for name, split in zip(dialogues, column, strict=True):
            homes.setdefault(name, set()).add(split)
        assert all(len(found) == 1 for found in homes.values())
        dev = Counter(label for label, split in zip(labels, column, strict=True) if split == "dev")
        assert dev.total() == 20 and dev["rare"] == 4
