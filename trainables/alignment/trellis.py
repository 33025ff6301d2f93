"""Forced alignment by connectionist temporal classification: the best path through the trellis.

Between any two tokens, before the first and after the last there may be blanks; between equal ones there must be
(Graves et al., ICML 2006). A path's probability is the product of its frames', so that the best one is Viterbi's.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def needed_frames(tokens: Sequence[int]) -> int:
    """The shortest path: a frame for each token, and a blank between equal neighbours."""
    return len(tokens) + sum(before == after for before, after in pairwise(tokens))


def align_tokens(log_probs: NDArray[np.float32], tokens: Sequence[int], blank: int) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of each token on the most probable path.

    `log_probs` [frames, vocabulary] in nats; `tokens` without blanks, at least one. Raises
    ValueError where there are too few frames.
    """
    frames, needed = len(log_probs), needed_frames(tokens)
    if not tokens or blank in tokens:
        raise ValueError("tokens: at least one, and no blank among them")
    if frames < needed:
        raise ValueError(f"{frames} frames are too few for {len(tokens)} tokens: they need {needed}")
    path = _best_path(log_probs, _states(tokens, blank))
    spans: list[tuple[int, int]] = []
    for index in range(len(tokens)):
        at = np.flatnonzero(path == 2 * index + 1)
        spans.append((int(at[0]), int(at[-1]) + 1))
    return spans


def _states(tokens: Sequence[int], blank: int) -> NDArray[np.int64]:
    """[2 L + 1]: a blank around every token."""
    states = np.full(2 * len(tokens) + 1, blank, dtype=np.int64)
    states[1::2] = tokens
    return states


def _best_path(log_probs: NDArray[np.float32], states: NDArray[np.int64]) -> NDArray[np.int64]:
    """[frames]: the state of each frame. A state is reached from itself, the one before, or over a blank."""
    frames, count = len(log_probs), len(states)
    may_skip = np.zeros(count, dtype=bool)
    may_skip[3::2] = states[3::2] != states[1:-2:2]
    emitted = log_probs[:, states].astype(np.float64)
    score = np.full(count, -np.inf)
    score[:2] = emitted[0, :2]
    steps = np.zeros((frames, count), dtype=np.int8)
    for frame in range(1, frames):
        one = np.concatenate(([-np.inf], score[:-1]))
        two = np.where(may_skip, np.concatenate(([-np.inf, -np.inf], score[:-2])), -np.inf)
        choices = np.stack((score, one, two))
        steps[frame] = choices.argmax(axis=0)
        score = choices.max(axis=0) + emitted[frame]
    path = np.empty(frames, dtype=np.int64)
    path[-1] = count - 1 if score[-1] >= score[-2] else count - 2
    for frame in range(frames - 1, 0, -1):
        path[frame - 1] = path[frame] - steps[frame, path[frame]]
    return path
