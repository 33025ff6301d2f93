"""The voiced part of a clip, shared out by letters."""

from __future__ import annotations

import numpy as np
import pytest

from trainables.alignment.proportional import BELOW_LOUDEST, proportional, voiced_interval

RATE = 16_000


def clip(*parts: tuple[float, float]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Tones of (seconds, level)."""
    waves = [level * np.sin(2 * np.pi * 200 * np.arange(round(s * RATE)) / RATE) for s, level in parts]
    return np.concatenate(waves).astype(np.float32)


def test_silence_at_both_ends_is_left_out_and_within_it_is_not() -> None:
    samples = clip((0.5, 0.0), (0.3, 0.5), (0.4, 0.0), (0.2, 0.5), (0.6, 1e-3))
    assert voiced_interval(samples, RATE) == pytest.approx((0.5, 1.4), abs=0.0201)


def test_the_threshold_is_relative_to_the_loudest() -> None:
    for decibels, start in ((BELOW_LOUDEST - 3, 0.0), (BELOW_LOUDEST + 3, 0.5)):
        samples = clip((0.5, 0.5 * 10 ** (-decibels / 20)), (0.5, 0.5))
        assert voiced_interval(samples, RATE) == pytest.approx((start, 1.0), abs=1e-6)


@pytest.mark.parametrize("samples", [clip((0.5, 0.0)), clip((0.5, 1e-5)), np.zeros(0, dtype=np.float32)])
def test_where_nobody_speaks_there_is_no_interval(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> None:
    assert voiced_interval(samples, RATE) is None
    assert proportional(samples, RATE, "a word") is None


def test_words_have_time_by_their_letters() -> None:
    samples = clip((0.2, 0.0), (1.2, 0.5), (0.2, 0.0))
    found = proportional(samples, RATE, "I'm [BREATHING] ready, Joey…")
    assert found is not None
    assert [(w.label, round(w.start, 2), round(w.end, 2)) for w in found.words] == [
        ("I'm", 0.2, 0.42),
        ("ready", 0.42, 0.96),
        ("Joey", 0.96, 1.4),
    ]
    assert [round(p.end - p.start, 4) for p in found.phones] == pytest.approx([1.2 / 11] * 11, abs=1e-3)
    assert ([s.label for s in found.syllables], found.source) == (["im", "rea", "dy", "joey"], "proportional")


@pytest.mark.parametrize("text", ["", "…!", "[LAUGHTER]"])
def test_without_words_there_is_nothing_to_share(text: str) -> None:
    assert proportional(clip((0.5, 0.5)), RATE, text) is None
