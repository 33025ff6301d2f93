"""Where each labelled segment of CMU-MOSEI lies in its recording, and what is said in it.

Times are the labels' own; of labels without (the raters' CSV files) those of the transcript's line of that clip.
Starts before the recording are taken as 0. Words are the transcript's, and where it has none those of
`CMU_MOSEI_TimestampedWords.csd` whose middle lies in the segment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from trainables.alignment.base import Segment
from trainables.importers.mosei_labels import Labelled
from trainables.importers.mosei_layout import Layout
from trainables.importers.mosei_transcripts import Line, matching, read_transcript

SHORTEST = 1e-5
"""Seconds; the SDK drops segments that are shorter."""


class Times(NamedTuple):
    """Seconds of the recording, from 0."""

    start: float
    end: float

    @property
    def empty(self) -> bool:
        return self.end - self.start < SHORTEST


@dataclass(frozen=True)
class Placed:
    segment: Labelled
    times: Times | None
    """None where neither labels nor transcript say."""
    clip: int | None
    """As the files of single segments are numbered."""
    text: str = ""


def place(segments: Iterable[Labelled], layout: Layout) -> list[Placed]:
    """By video, in time; the order of `segments` decides between those that start together."""
    transcripts: dict[str, list[Line]] = {}
    placed = []
    for segment in segments:
        if segment.video not in transcripts:
            path = layout.transcripts.get(segment.video)
            transcripts[segment.video] = read_transcript(path) if path else []
        placed.append(_place(segment, transcripts[segment.video]))
    placed.sort(key=lambda one: (one.segment.video, one.times.start if one.times else float("inf")))
    return _with_words(placed, layout)


def _place(segment: Labelled, lines: Sequence[Line]) -> Placed:
    if segment.clip is not None:
        line = next((line for line in lines if line.clip == segment.clip), None)
        times = _times(line.start, line.end) if line else None
        return Placed(segment, times, segment.clip, line.text if line else "")
    times = _times(segment.start, segment.end)
    line = matching(lines, *times) if times else None
    return Placed(segment, times, line.clip if line else None, line.text if line else "")


def _times(start: float | None, end: float | None) -> Times | None:
    return None if start is None or end is None else Times(max(0.0, start), max(0.0, end))


def _with_words(placed: list[Placed], layout: Layout) -> list[Placed]:
    """The same, with the words of `layout.words` where the transcript has no text."""
    wanted = {one.segment.video for one in placed if one.times and not one.text}
    if layout.words is None or not wanted:
        return placed
    from trainables.importers.mosei_csd import read_words

    words = read_words(layout.words, wanted)
    return [
        replace(one, text=_said(words.get(one.segment.video, ()), one.times)) if one.times and not one.text else one
        for one in placed
    ]


def _said(words: Iterable[Segment], times: Times) -> str:
    return " ".join(word.label for word in words if times.start <= (word.start + word.end) / 2 < times.end)
