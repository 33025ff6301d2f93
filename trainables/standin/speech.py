"""Speech by eSpeak NG through `ctypes`, with the times of its words and phones.

The library's state is global, and an utterance's samples depend a little on those spoken before it. So one
process speaks one block of lines in a fixed order, and another process speaks the next one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainables.errors import UserError
from trainables.standin.rules import Line
from trainables.standin.voices import MANNERS, Manner

Samples = NDArray[np.int16]
"""[time]"""
RATE = 22_050  # eSpeak NG's own, Hz
_SYNCHRONOUS, _PHONEME_EVENTS, _NO_EXIT = 2, 0x0001, 0x8000
_UTF8 = 1
_PARAMETERS = {"rate": 1, "pitch": 3, "span": 4}
_END, _WORD, _PHONEME = 0, 1, 7


class Span(NamedTuple):
    """A word or a phone (eSpeak NG's ASCII mnemonic, stress marks left out), in seconds from the start."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """`samples` is int16 [time] at RATE."""

    samples: Samples
    words: list[Span]
    phones: list[Span]


class _Identity(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """`espeak_EVENT` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # from 1, in characters
        ("length", ctypes.c_int),  # of a word, in characters
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Mark:
    """One event: `kind` word or phone, `position` its word's first character (from 1), `sample` its start."""

    kind: int
    position: int
    sample: int
    label: str


class Synthesiser:
    """eSpeak NG in this process. One at a time: the library has one state."""

    def __init__(self) -> None:
        self._library = _load()
        self._library.espeak_ng_SetRandSeed(1)  # breath noise would else be seeded with the time
        self._blocks: list[Samples] = []
        self._marks: list[Mark] = []
        self._callback = _Callback(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, line: Line) -> Utterance:
        """The line in its speaker's voice and its emotion's manner."""
        manner = MANNERS[line.voice]
        self._blocks.clear()
        self._marks.clear()
        self._set_voice(line, manner)
        data = (line.heard.rstrip(".") + manner.contour).encode("utf-8")
        self._library.espeak_Synth(data, len(data) + 1, 0, 1, 0, _UTF8, None, None)
        if not self._blocks:
            raise RuntimeError(f"eSpeak NG said nothing for {line.heard!r}")
        raw = np.concatenate(self._blocks)
        words, phones = segments(self._marks, line.heard, line.text, len(raw))
        return Utterance(colour(raw, manner, line.level), words, phones)

    def _set_voice(self, line: Line, manner: Manner) -> None:
        voice = f"en-us+{line.speaker.variant}"
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        for name, value in {"rate": line.rate, "pitch": line.pitch, "span": manner.span}.items():
            self._library.espeak_SetParameter(_PARAMETERS[name], value, 0)

    def _take(self, wave: Any, count: int, events: Any) -> int:
        """Called by the library with each block of samples and the events in it."""
        if wave and count:
            self._blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while (event := events[index]).type != _END:
            if event.type in (_WORD, _PHONEME):
                label = event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
                self._marks.append(Mark(event.type, event.text_position, event.sample, label))
            index += 1
        return 0


def _load() -> ctypes.CDLL:
    try:
        import espeakng_loader
    except ImportError as error:
        raise UserError(
            "the stand-in corpus needs eSpeak NG, which the package espeakng-loader carries: "
            "pip install 'orch[standin]' (or make setup), or configure a MELD root"
        ) from error
    make: Callable[[str], ctypes.CDLL] = ctypes.CDLL
    library = make(str(espeakng_loader.get_library_path()))
    data = str(espeakng_loader.get_data_path()).encode()
    if library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _NO_EXIT) != RATE:
        raise RuntimeError(f"eSpeak NG did not start with its data in {data.decode()}")
    return library


def segments(marks: list[Mark], heard: str, text: str, samples: int) -> tuple[list[Span], list[Span]]:
    """Words and phones of an utterance from its events; pauses belong to neither.

    A phone lasts until the next phone or pause begins, and a word from its first phone's start to its last one's
    end. A word's label is what the transcript `text` has in its place: two words where the library runs two
    together ("I am"). Raises RuntimeError where a word has no phone, which would leave it without a time.
    """
    sounds = [mark for mark in marks if mark.kind == _PHONEME]
    ends = [mark.sample for mark in sounds[1:]] + [samples]
    spoken = [
        (mark, Span(mark.label.strip("',%="), mark.sample / RATE, end / RATE))
        for mark, end in zip(sounds, ends, strict=True)
        if not mark.label.startswith("_") and mark.label and end > mark.sample
    ]
    words, written = [], [token.strip(",.") for token in text.split()]
    starts = [mark.position for mark in marks if mark.kind == _WORD]
    for start, after in zip(starts, [*starts[1:], len(heard) + 1], strict=True):
        inside = [phone for sound, phone in spoken if start <= sound.position < after]
        label = " ".join(written[len(heard[: start - 1].split()) : len(heard[: after - 1].split())])
        if not inside:
            raise RuntimeError(f"eSpeak NG gave no phone for {label!r} in {heard!r}")
        words.append(Span(label, inside[0].start, inside[-1].end))
    return words, [phone for _, phone in spoken]


def colour(samples: Samples, manner: Manner, level: float) -> Samples:
    """The manner's timbre on int16 samples [time]: tilt, tremor, then loudness set to `level` dB full scale."""
    wave = samples.astype(np.float64) / 32768
    wave[1:] -= manner.tilt * wave[:-1].copy()
    if manner.tremor:
        turns = np.arange(len(wave)) * (manner.tremor_hertz / RATE)
        wave *= 1 - manner.tremor * (0.5 + 0.5 * np.sin(2 * np.pi * turns))
    loudness = float(np.sqrt(np.mean(wave**2)))
    wave *= 10 ** (level / 20) / max(loudness, 1e-9)
    scaled: Samples = (np.clip(wave, -1, 1) * 32767).astype(np.int16)
    return scaled
