"""Pictures lost: the last one that came stands in."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.corruption.pictures import frames_dropped, shown


def drawn(count: int, share: float, seed: int) -> list[bool]:
    """Which pictures come, drawn as documented."""
    return [bool(d >= share) for d in np.random.default_rng(seed).random(count)]


def by_hand(came: list[bool]) -> list[int]:
    first = came.index(True) if any(came) else 0
    seen, last = [], first
    for index, here in enumerate(came):
        last = index if here else last
        seen.append(last)
    return seen


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_the_last_that_came_is_seen(share: float, seed: int) -> None:
    assert shown(12, share, seed).tolist() == by_hand(drawn(12, share, seed))


def test_the_first_that_comes_stands_in_for_those_before_it() -> None:
    seed = next(s for s in range(1000) if drawn(5, 0.5, s) == [False, False, True, False, True])
    assert shown(5, 0.5, seed).tolist() == [2, 2, 2, 2, 4]


def test_the_first_stays_where_all_are_lost() -> None:
    assert shown(6, 1.0, 0).tolist() == [0] * 6
    assert shown(0, 0.5, 0).tolist() == []


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_the_share_lost_is_the_one_asked_for(share: float) -> None:
    lost = int((shown(2000, share, seed=2) != np.arange(2000)).sum())
    assert abs(lost - 2000 * share) < 4 * np.sqrt(2000 * share * (1 - share))


@pytest.mark.parametrize("shape", [(9, 4, 4), (9, 5)])
def test_pictures_and_vectors_alike(shape: tuple[int, ...]) -> None:
    images = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    seen = frames_dropped(images, 0.5, 7)
    assert seen.dtype == images.dtype
    assert np.array_equal(seen, np.stack([images[i] for i in by_hand(drawn(9, 0.5, 7))]))
    assert not np.array_equal(seen, images)
