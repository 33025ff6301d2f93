"""EmoDB's ten sentences and its hand-made labels: phones (`lablaut`) and syllables (`silb`, `labsilb`).

A line says where something *begins*, in seconds, and what; it lasts until the next line. (The audio says so: were
the times ends, the sibilants of `lablaut` would have 2 % of their energy above 2.5 kHz instead of 91 %.) `.` is the
end of the utterance, `(` a pause and `(gef` a filled one. Files are Latin-1; those written by xlabel have a header
down to `#` and a colour before each label.

In `lablaut` a symbol may be followed by marks of voice quality and by stress; a line of marks alone says that the
quality changes while the phone goes on. A plosive has a line for its closure (`t`, or `_t` after silence), one for
its burst (`!t`) and one for its aspiration (`tasp`): one phone here. Symbols are otherwise the corpus's own.

Syllables have the labels of their files, where the first of a reduced word may have the whole word's ("neben bm").
Their number is always the sentence's, so that its words can be told from them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from trainables.alignment.base import Alignment, Segment
from trainables.errors import CorpusError

_SYLLABLES = {
    "a01": "Der Lap-pen liegt auf dem Eis-schrank.",
    "a02": "Das will sie am Mitt-woch ab-ge-ben.",
    "a04": "Heu-te A-bend könn-te ich es ihm sa-gen.",
    # The published list has "Stück Papier"; what is spoken, and labelled, in every recording is "Blatt Papier".
    "a05": "Das schwar-ze Blatt Pa-pier be-fin-det sich da o-ben ne-ben dem Holz-stück.",
    "a07": "In sie-ben Stun-den wird es so-weit sein.",
    "b01": "Was sind denn das für Tü-ten, die da un-ter dem Tisch ste-hen?",
    "b02": "Sie ha-ben es ge-ra-de hoch-ge-tra-gen und jetzt ge-hen sie wie-der run-ter.",
    "b03": "An den Wo-chen-en-den bin ich jetzt im-mer nach Hau-se ge-fah-ren und ha-be Ag-nes be-sucht.",
    # "gehen" has one label here and two in b02.
    "b09": "Ich will das e-ben weg-brin-gen und dann mit Karl was trin-ken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie im-mer hin-le-gen.",
}
SENTENCES = {code: text.replace("-", "") for code, text in _SYLLABLES.items()}

PAUSES = {"(", "(gef", "."}
_LINE = re.compile(r"\s*(\d+\.\d+)\s+(?:-?\d+ )?(.*)")
_SYMBOL = re.compile(r"[^\s+\-,\[]*")
_RELEASE = re.compile(r"!(.?)|(.)(?:asp|as|sap)")
"""A plosive's burst or aspiration; two misspellings of `asp` occur."""
_PLOSIVES = frozenset("ptkbdg")
_BARE_MARKS = {"hoe"}
"""Written once without its sign."""


class Entry(NamedTuple):
    """A line: what begins at `start` seconds."""

    start: float
    field: str


def read_entries(path: Path) -> list[Entry]:
    """The lines of a label file; CorpusError naming the first that is none, or that goes back in time."""
    lines = path.read_bytes().decode("latin-1").splitlines()
    first = lines.index("#") + 1 if "#" in lines else 0
    if not first and any(line.startswith("signal ") for line in lines):
        return []  # a header alone: the file was made and never filled
    entries: list[Entry] = []
    for number, line in enumerate(lines[first:], start=first + 1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise CorpusError(f"{path.name}: line {number}: {line!r} is not a time and a label")
        entry = Entry(float(match[1]), match[2])
        if entries and entry.start < entries[-1].start:
            raise CorpusError(f"{path.name}: line {number}: {match[1]} s is before the line above")
        entries.append(entry)
    return entries


def align(code: str, lablaut: Sequence[Entry], silb: Sequence[Entry]) -> Alignment | None:
    """What the labels of a sentence say, None where they say nothing. Words need as many syllables as it has."""
    syllables = _spans([Entry(start, field.split()[0] if field.split() else "") for start, field in silb])
    words = _words(code, syllables)
    phones = _spans(_phones(lablaut))
    if not (phones or syllables):
        return None
    return Alignment(words, _sounding(phones), _sounding(syllables), "corpus")


def _phones(entries: Sequence[Entry]) -> list[Entry]:
    """The lines that begin a phone or a pause, with the bare symbol."""
    found: list[Entry] = []
    for start, field in entries:
        symbol = _SYMBOL.match(field)
        label = symbol[0] if symbol else ""
        if not label or label in _BARE_MARKS:
            continue
        release = _RELEASE.fullmatch(label)
        if release:
            label = release[1] or release[2] or ""
            if not label or (found and found[-1].field in _PLOSIVES):
                continue
        found.append(Entry(start, label.removeprefix("_")))
    return found


def _spans(entries: Sequence[Entry]) -> list[Segment]:
    """From each label to the next, pauses left out. What no line ends is not there."""
    return [
        Segment(entry.field, entry.start, after.start)
        for entry, after in pairwise(entries)
        if entry.field not in PAUSES
    ]


def _words(code: str, syllables: Sequence[Segment]) -> tuple[Segment, ...]:
    parts = [word.strip(".,?").split("-") for word in _SYLLABLES[code].split()]
    if sum(map(len, parts)) != len(syllables):
        return ()
    words, done = [], 0
    for word in parts:
        own = syllables[done : done + len(word)]
        words.append(Segment("".join(word), own[0].start, own[-1].end))
        done += len(word)
    return tuple(words)


def _sounding(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Without those of no length: two lines of one time, one of which was never moved to its place."""
    return tuple(segment for segment in segments if segment.end > segment.start)
