"""Words without phones: a text's words, and a word's time shared out equally among its letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from trainables.alignment.base import Alignment, Segment
from trainables.alignment.syllables import spelled
from trainables.corpus import AlignmentSource

_TAG = re.compile(r"\[[^\]]*\]|<[^>]*>")


def words_of(text: str) -> list[str]:
    """The words as written, without punctuation and without tags such as [LAUGHTER]."""
    plain = unicodedata.normalize("NFKC", _TAG.sub(" ", text)).replace("’", "'")
    return [word.strip("'") for word in re.findall(r"[\w']+", plain) if any(map(str.isalnum, word))]


def shared_out(words: Sequence[Segment], source: AlignmentSource, language: str) -> Alignment:
    """The letters of each word as its phones, of equal length; syllables by their letters."""
    phones: list[Segment] = []
    syllables: list[Segment] = []
    for word in words:
        parts = spelled(word.label, language)
        letters = "".join(parts)
        share = (word.end - word.start) / max(len(letters), 1)
        bounds = [word.start + i * share for i in range(len(letters))] + [word.end]
        phones += [Segment(letter, bounds[i], bounds[i + 1]) for i, letter in enumerate(letters)]
        done = 0
        for part in parts:
            syllables.append(Segment(part, bounds[done], bounds[done + len(part)]))
            done += len(part)
    return Alignment(tuple(words), tuple(phones), tuple(syllables), source)
