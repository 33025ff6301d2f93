"""Words as a recogniser loses and mistakes them.

A word is what stands between spaces and has a letter or a digit. What is spelled alike stands in for what sounds
alike, which no corpus's texts say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

_WORD = re.compile(r"\w+(?:['’-]\w+)*")
_PARTS = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)


def counted(texts: Iterable[str]) -> Counter[str]:
    """How often each word stands in the texts, in lower case and without the punctuation around it."""
    words = (_parts(word)[1].lower() for text in texts for word in text.split())
    return Counter(word for word in words if _WORD.fullmatch(word))


def dropped(text: str, share: float, seed: int) -> str:
    """The text without the words lost, each with probability `share`, their punctuation with them.

    All may be lost: an empty text is what a recogniser that heard nothing gives.
    """
    words = text.split()
    lost = _struck(words, share, seed)
    return text if not lost.any() else " ".join(w for w, gone in zip(words, lost, strict=True) if not gone)


class Confusions:
    """The word of a vocabulary that each word is taken for: spelled most alike and another."""

    def __init__(self, vocabulary: Counter[str]) -> None:
        """`vocabulary`: as `counted` gives it; among words equally alike the more frequent, then by alphabet."""
        self._words = sorted(vocabulary, key=lambda word: (-vocabulary[word], word))
        self._lengths = np.asarray([len(word) for word in self._words], dtype=np.int64)
        width = int(self._lengths.max(initial=0))
        self._letters = np.zeros((len(self._words), width), dtype=np.int32)
        for row, word in enumerate(self._words):
            self._letters[row, : len(word)] = [ord(letter) for letter in word]
        self._found: dict[str, str] = {}

    def of(self, word: str) -> str:
        """For a word in lower case; itself where the vocabulary has no other."""
        if word not in self._found:
            others = [self._words[row] for row in self._nearest(word)]
            self._found[word] = next((other for other in others if other != word), word)
        return self._found[word]

    def _nearest(self, word: str) -> Sequence[int]:
        """The two rows nearest to the word, one of which may be the word itself."""
        if not self._words:
            return []
        # A word's length differs by no more than its distance, so those of like length come first.
        gaps = np.abs(self._lengths - len(word))
        for reach in (1, 2, int(gaps.max())):
            rows = np.flatnonzero(gaps <= reach)
            distances = edit_distances(word, self._letters[rows, : len(word) + reach], self._lengths[rows])
            order = np.argsort(distances, kind="stable")[:2]
            if len(order) == 2 and distances[order[1]] <= reach:
                break
        return [int(row) for row in rows[order]]


def substituted(text: str, share: float, seed: int, confusions: Confusions) -> str:
    """The text with words taken for others, each with probability `share`; case and punctuation stay."""
    words = text.split()
    struck = _struck(words, share, seed)
    if not struck.any():
        return text
    return " ".join(_mistaken(w, confusions) if hit else w for w, hit in zip(words, struck, strict=True))


def edit_distances(word: str, letters: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Levenshtein distances [N] of one word to N others, given as code points [N, L] padded at the end.

    Wagner and Fischer 1974, row by row for all N at once; a run of insertions is a running minimum.
    """
    steps = np.arange(letters.shape[1] + 1, dtype=np.int32)
    row = np.broadcast_to(steps, (len(letters), len(steps)))
    for done, letter in enumerate(word, start=1):
        best = np.empty_like(row)
        best[:, 0] = done
        best[:, 1:] = np.minimum(row[:, 1:] + 1, row[:, :-1] + (letters != ord(letter)))
        row = np.minimum.accumulate(best - steps, axis=1) + steps
    return row[np.arange(len(letters)), lengths]


def _struck(words: Sequence[str], share: float, seed: int) -> NDArray[np.bool_]:
    """Which words are hit; what is punctuation alone is not."""
    hit: NDArray[np.bool_] = np.random.default_rng(seed).random(len(words)) < share
    spoken: NDArray[np.bool_] = np.asarray([any(c.isalnum() for c in word) for word in words], dtype=np.bool_)
    return hit & spoken


def _parts(word: str) -> tuple[str, str, str]:
    """The punctuation before, the word, the punctuation after."""
    found = _PARTS.fullmatch(word)
    assert found is not None
    return found[1], found[2], found[3]


def _mistaken(word: str, confusions: Confusions) -> str:
    before, core, after = _parts(word)
    other = confusions.of(core.lower())
    if len(core) > 1 and core.isupper():
        other = other.upper()
    elif core[:1].isupper():
        other = other[:1].upper() + other[1:]
    return f"{before}{other}{after}"
