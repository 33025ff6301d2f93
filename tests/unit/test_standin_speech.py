"""From the synthesiser's events to times, and from a manner to samples; neither needs the synthesiser."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from trainables.errors import UserError
from trainables.standin.speech import RATE, Mark, Span, Synthesiser, colour, segments
from trainables.standin.voices import Manner

WORD, PHONE = 1, 7
TEXT = "Yay, I am up."


def mark(kind: int, position: int, seconds: float, label: str = "") -> Mark:
    return Mark(kind, position, round(seconds * RATE), label)


EVENTS = [
    mark(WORD, 1, 0.0),
    mark(PHONE, 1, 0.0, "j"),
    mark(PHONE, 1, 0.2, "'eI"),
    mark(PHONE, 5, 0.5, "_:"),
    mark(WORD, 6, 0.6),
    mark(PHONE, 6, 0.6, "aI"),
    mark(PHONE, 6, 0.7, "m"),
    mark(WORD, 11, 0.8),
    mark(PHONE, 11, 0.8, "'V"),
    mark(PHONE, 11, 0.9, "p"),
    mark(PHONE, 14, 1.0, "_"),
]


def test_words_span_their_phones_and_pauses_belong_to_none() -> None:
    """What is said has the transcript's words for labels, those of another wording too."""
    words, phones = segments(EVENTS, TEXT, "Wow, I am out.", round(1.2 * RATE))
    assert [word.label for word in words] == ["Wow", "I am", "out"]
    assert [(round(w.start, 4), round(w.end, 4)) for w in words] == [(0, 0.5), (0.6, 0.8), (0.8, 1.0)]
    assert [phone.label for phone in phones] == ["j", "eI", "aI", "m", "V", "p"]
    assert phones[1] == Span("eI", 0.2, 0.5)


def test_a_word_without_a_phone_is_an_error() -> None:
    silent = [event for event in EVENTS if event.label not in {"aI", "m"}]
    with pytest.raises(RuntimeError, match="no phone for 'I am'"):
        segments(silent, TEXT, TEXT, RATE)


def noise() -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return (np.random.default_rng(0).normal(size=RATE) * 3000).astype(np.int16)


def share_above(samples: np.ndarray[tuple[int], np.dtype[np.int16]], hertz: int) -> float:
    power = np.abs(np.fft.rfft(samples.astype(np.float64))) ** 2
    return float(power[hertz:].sum() / power.sum())


@pytest.mark.parametrize("level", [-30.0, -18.0])
def test_loudness_is_the_level_asked_for(level: float) -> None:
    heard = colour(noise(), Manner(50, 50, 1.0, level, tilt=0.5, tremor=0.4), level) / 32767
    assert 20 * np.log10(np.sqrt(np.mean(heard**2))) == pytest.approx(level, abs=0.05)


def test_tilt_above_zero_brightens_and_below_zero_softens() -> None:
    soft, plain, bright = (
        share_above(colour(noise(), Manner(50, 50, 1.0, -25, tilt=tilt), -25), 5000) for tilt in (-0.8, 0, 0.8)
    )
    assert soft < 0.5 * plain < plain < 1.4 * plain < bright


def test_tremor_modulates_at_its_own_speed() -> None:
    heard = colour(noise(), Manner(50, 50, 1.0, -25, tremor=0.8, tremor_hertz=7), -25)
    envelope = np.abs(np.fft.rfft(heard.astype(np.float64) ** 2))
    assert int(np.argmax(envelope[1:50])) + 1 == 7


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"pip install 'orch\[standin\]' \(or make setup\)"):
        Synthesiser()
