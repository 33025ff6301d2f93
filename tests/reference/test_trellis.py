"""Forced alignment against the best of all paths, each of them tried."""

from __future__ import annotations

from itertools import groupby, product

import numpy as np
import pytest
from numpy.typing import NDArray

from trainables.alignment.trellis import align_tokens, needed_frames

BLANK, VOCABULARY = 0, 4


def collapsed(path: tuple[int, ...]) -> list[int]:
    """Graves et al., section 3.1: repeats merged, then blanks removed."""
    return [token for token, _ in groupby(path) if token != BLANK]


def best_of_all(log_probs: NDArray[np.float32], tokens: list[int]) -> tuple[tuple[int, ...], float]:
    paths = [p for p in product(range(VOCABULARY), repeat=len(log_probs)) if collapsed(p) == tokens]
    scores = [float(sum(np.float64(log_probs[t, k]) for t, k in enumerate(path))) for path in paths]
    return paths[int(np.argmax(scores))], max(scores)


def spans_of(path: tuple[int, ...]) -> list[tuple[int, int]]:
    spans, at = [], 0
    for token, group in groupby(path):
        count = len(list(group))
        if token != BLANK:
            spans.append((at, at + count))
        at += count
    return spans


@pytest.mark.parametrize("tokens", [[1], [1, 2], [2, 2], [1, 1, 1], [3, 1, 3], [1, 2, 2], [2, 2, 1, 1]])
@pytest.mark.parametrize("frames", [3, 5, 6, 7])
def test_the_path_is_the_best_of_all(tokens: list[int], frames: int) -> None:
    if frames < needed_frames(tokens):
        pytest.skip("no path has so few frames")
    for seed in range(5):
        logits = np.random.default_rng(seed).normal(size=(frames, VOCABULARY), scale=2)
        log_probs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
        path, _ = best_of_all(log_probs, tokens)
        assert align_tokens(log_probs, tokens, BLANK) == spans_of(path)


def test_equal_neighbours_have_a_blank_between_them() -> None:
    certain = np.full((4, 2), -9.0, dtype=np.float32)
    certain[:, 1] = -0.1  # the token everywhere
    (first, second) = align_tokens(certain, [1, 1], BLANK)
    assert first[1] < second[0]
    assert (first[0], second[1]) == (0, 4)


@pytest.mark.parametrize(("tokens", "needed"), [([1], 1), ([1, 2, 3], 3), ([1, 1], 3), ([2, 2, 2, 1], 6)])
def test_the_shortest_path(tokens: list[int], needed: int) -> None:
    assert needed_frames(tokens) == needed
    log_probs = np.zeros((needed, VOCABULARY), dtype=np.float32)
    assert len(align_tokens(log_probs, tokens, BLANK)) == len(tokens)
    with pytest.raises(ValueError, match="too few"):
        align_tokens(log_probs[1:], tokens, BLANK)


@pytest.mark.parametrize("tokens", [[], [1, BLANK]])
def test_there_is_something_to_align_and_it_is_no_blank(tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="no blank"):
        align_tokens(np.zeros((5, VOCABULARY), dtype=np.float32), tokens, BLANK)
