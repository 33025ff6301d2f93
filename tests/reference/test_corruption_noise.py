"""Noise at a stated ratio, measured in what comes out; babble by others than the speaker."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.teachers import small_corpus
from trainables.corpus import read_table
from trainables.corruption.noise import Voice, Wave, active_power, at_snr, babble, white
from trainables.corruption.pool import BabblePool
from trainables.determinism import derive
from trainables.errors import CorpusError
from trainables.storage import Storage


def tone(hertz: float, seconds: float, height: float = 0.5) -> Wave:
    """Of power height² / 2."""
    return (height * np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)).astype(np.float32)


def decibels(speech: float, noise: float) -> float:
    return 10 * float(np.log10(speech / noise))


def test_the_power_of_speech_is_that_of_its_active_part() -> None:
    # 0.5 s of a sine of height 0.5 (power 0.125), 0.5 s of silence, 0.5 s at 60 dB below it: only the first counts.
    wave = np.concatenate([tone(200, 0.5), np.zeros(8_000, np.float32), tone(200, 0.5, 0.0005)])
    assert active_power(wave) == pytest.approx(0.125, rel=1e-3)
    # At 20 dB below it is speech still: the mean of 0.125 and 0.00125.
    assert active_power(np.concatenate([tone(200, 0.5), tone(200, 0.5, 0.05)])) == pytest.approx(0.063125, rel=1e-3)


@pytest.mark.parametrize("wanted", [20.0, 10.0, 0.0, -5.0])
@pytest.mark.parametrize("pause", [0.0, 0.7])
def test_the_ratio_measured_is_the_one_wanted(wanted: float, pause: float) -> None:
    speech = np.concatenate([tone(220, 1.3, 0.2), np.zeros(round(16_000 * pause), np.float32)])
    noise = white(len(speech), seed=3)
    mixed = at_snr(speech, noise, wanted)
    (kept, gain), left, *_ = np.linalg.lstsq(np.stack([speech, noise], axis=1), mixed, rcond=None)
    assert float(left[0]) < 1e-6  # it is those two and nothing else
    measured = decibels(kept**2 * 0.02, gain**2 * float(np.mean(noise**2)))
    assert measured == pytest.approx(wanted, abs=0.1)
    assert np.abs(mixed).max() <= 1.0


def test_speech_and_noise_are_turned_down_together() -> None:
    speech = tone(220, 1.0, 1.0)
    square = np.where(np.arange(len(speech)) % 2 == 0, 1.0, -1.0).astype(np.float32)
    mixed = at_snr(speech, square, 0.0)
    # Noise of power 0.5 has height 0.7071; the sum's peak is near 1.7071 and becomes 1.
    assert np.abs(mixed).max() == pytest.approx(1.0, abs=1e-6)
    assert float(mixed @ speech / (speech @ speech)) == pytest.approx(1 / 1.7071, abs=1e-3)
    assert float(mixed @ square / len(square)) == pytest.approx(0.7071 / 1.7071, abs=1e-3)


def test_digital_silence_stays_and_a_silent_noise_is_refused() -> None:
    silence = np.zeros(1000, np.float32)
    assert np.array_equal(at_snr(silence, white(1000, 0), 0.0), silence)
    assert len(at_snr(silence[:0], white(0, 0), 0.0)) == 0
    with pytest.raises(ValueError, match="digital silence"):
        at_snr(tone(220, 0.1), np.zeros(1600, np.float32), 0.0)


def test_white_noise_has_power_one_and_no_colour() -> None:
    noise = white(160_000, seed=1)
    assert float(np.mean(noise**2)) == pytest.approx(1.0, abs=0.02)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    low, high = spectrum[1:40_000].mean(), spectrum[40_000:].mean()
    assert low / high == pytest.approx(1.0, abs=0.05)
    assert np.array_equal(noise, white(160_000, seed=1))
    assert not np.array_equal(noise, white(160_000, seed=2))


POOL = [Voice("ann", tone(300, 0.3, 0.9)), Voice("bob", tone(500, 0.2, 0.1)), Voice("cid", tone(700, 0.5, 0.4))]


def pitches(wave: Wave) -> dict[int, float]:
    """The power of each pitch of the pool within a second."""
    spectrum = np.abs(np.fft.rfft(wave[:16_000])) ** 2
    return {hertz: float(spectrum[hertz]) / 8_000**2 for hertz in (300, 500, 700)}


@pytest.mark.parametrize(("speaker", "own"), [("ann", 300), ("bob", 500), ("cid", 700)])
def test_nobody_babbles_over_their_own_speech(speaker: str, own: int) -> None:
    noise = babble(POOL, speaker, samples=16_000, voices=2, seed=5)
    found = pitches(noise)
    assert found.pop(own) < 0.01
    # Each of the two others has power 1 (height √2), however loud it was recorded.
    assert list(found.values()) == pytest.approx([2.0, 2.0], rel=0.01)


def test_babble_depends_on_its_seed_alone() -> None:
    first = babble(POOL, "ann", 5000, 4, seed=derive(0, "babble", "u1"))
    assert np.array_equal(first, babble(POOL, "ann", 5000, 4, seed=derive(0, "babble", "u1")))
    assert not np.array_equal(first, babble(POOL, "ann", 5000, 4, seed=derive(0, "babble", "u2")))


def test_the_only_speaker_babbles_alone() -> None:
    assert pitches(babble(POOL[:1], "ann", 16_000, 1, seed=0))[300] == pytest.approx(2.0, rel=0.01)


def test_the_pool_is_of_train_utterances_that_can_be_heard(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    corpus = small_corpus(storage, n=20)  # 0..11 are train; 4 has no audio
    everyone = BabblePool.read(storage, corpus, count=60)
    assert len(everyone.voices) == 11
    rows = read_table(storage, corpus, ["audio", "speaker", "split"]).to_pylist()
    heard = {soundfile.read(io.BytesIO(r["audio"]), dtype="float32")[0].tobytes(): r for r in rows if r["audio"]}
    of = [heard[voice.wave.tobytes()] for voice in everyone.voices]
    assert {r["split"] for r in of} == {"train"}
    assert [r["speaker"] for r in of] == [voice.speaker for voice in everyone.voices]


def test_a_small_pool_is_the_same_whenever_it_is_read(tmp_path: Path) -> None:
    storage, other = Storage(str(tmp_path / "a" / "store")), Storage(str(tmp_path / "b" / "store"))
    few = BabblePool.read(storage, small_corpus(storage, n=20, shards=2), count=4)
    same = BabblePool.read(other, small_corpus(other, n=20, shards=5), count=4)
    assert [v.wave.tobytes() for v in few.voices] == [v.wave.tobytes() for v in same.voices]
    assert len(few.voices) == 4
    reseeded = BabblePool.read(storage, "c0ffee0000000000", count=4, seed=1)
    assert [v.wave.tobytes() for v in few.voices] != [v.wave.tobytes() for v in reseeded.voices]
    assert np.array_equal(few.babble("s0", 3000, 3, 7), same.babble("s0", 3000, 3, 7))


def test_a_corpus_without_audio_has_no_babble(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    corpus = small_corpus(storage, n=20)
    with pytest.raises(CorpusError, match="no train utterance has audio"):
        BabblePool.read(storage, corpus, count=0)
