"""Noise over speech at a stated ratio: white, and babble made of other people's utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainables.corpus import SAMPLE_RATE

Wave = NDArray[np.float32]
"""[samples] in [-1, 1] at 16 kHz."""
_FRAME = round(0.02 * SAMPLE_RATE)
_ACTIVE_DECIBELS = 40.0


@dataclass(frozen=True)
class Voice:
    """One utterance that may speak in a babble."""

    speaker: str
    wave: Wave


def active_power(wave: Wave) -> float:
    """Mean power of the frames of 20 ms that come within 40 dB of the loudest one; 0 of digital silence.

    Pauses and padding do not count, so that an utterance's noise does not depend on the silence around it. The
    40 dB are those of Taal et al. 2011, "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted
    Noisy Speech", II.
    """
    if not wave.any():
        return 0.0
    starts = np.arange(0, len(wave), _FRAME)
    energies = np.add.reduceat(np.square(wave, dtype=np.float64), starts)
    sizes = np.diff(np.append(starts, len(wave)))
    powers = energies / sizes
    active = powers > powers.max() * 10 ** (-_ACTIVE_DECIBELS / 10)
    return float(energies[active].sum() / sizes[active].sum())


def at_snr(speech: Wave, noise: Wave, decibels: float) -> Wave:
    """The speech with the noise [samples] over all of it: `active_power` of the one over the other's mean power.

    Where the sum leaves [-1, 1] both are turned down together, which keeps the ratio. Digital silence has no power
    that noise could be measured by and comes back as it is. Raises ValueError for a noise of no power.
    """
    power = active_power(speech)
    if power == 0:
        return speech
    loudness = float(np.mean(np.square(noise, dtype=np.float64)))
    if loudness == 0:
        raise ValueError("the noise is digital silence; no ratio to it can be reached")
    gain = np.sqrt(power / loudness * 10 ** (-decibels / 10))
    mixed = speech + gain * noise
    turned: Wave = (mixed / max(1.0, float(np.abs(mixed).max()))).astype(np.float32)
    return turned


def white(samples: int, seed: int) -> Wave:
    """Gaussian noise of power 1: [samples]."""
    return np.random.default_rng(seed).standard_normal(samples, dtype=np.float32)


def babble(pool: Sequence[Voice], speaker: str, samples: int, voices: int, seed: int) -> Wave:
    """`voices` utterances of other speakers over each other, each of power 1: [samples].

    Each begins anywhere and is repeated to the length wanted. Fewer utterances than voices come in several times,
    each time from elsewhere. Where the pool has no other speaker, the speaker's own are taken. No voice of the pool
    may be silent, else the sum is not a number.
    """
    chosen = [v for v in pool if v.speaker != speaker] or list(pool)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(chosen))
    total = np.zeros(samples, dtype=np.float64)
    for index in range(voices):
        wave = chosen[order[index % len(chosen)]].wave
        offset = int(rng.integers(len(wave)))
        level = np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
        total += wave[(offset + np.arange(samples)) % len(wave)] / level
    return total.astype(np.float32)
