"""Praat TextGrids in the form that the Montreal Forced Aligner writes: tiers `words` and `phones`, one file a clip.

Files of several speakers have tiers `Name - words`; all of them are read, in the order of time. Long and short
format, UTF-8 and UTF-16 are praatio's to tell apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainables.alignment.base import Alignment, Segment, is_silence


class TextGridError(ValueError):
    """Why one file could not be read: a remark about its row, and no reason to stop."""


def read_textgrid(path: Path, words: str = "words", phones: str = "phones") -> Alignment:
    """The segments of the two kinds of tiers, without silences; phones may be absent.

    Raises TextGridError naming the file where it is no TextGrid, has no tier of words or no word in it.
    """
    grid = _open(path)
    tiers = [tier for tier in grid.tiers if type(tier).__name__ == "IntervalTier"]
    found = _tiers(tiers, words)
    if found is None:
        names = ", ".join(repr(name) for name in grid.tierNames) or "no tier at all"
        raise TextGridError(f"{path.name}: no tier of intervals {words!r}; it has {names}")
    if not found:
        raise TextGridError(f"{path.name}: no word in the tier {words!r}")
    return Alignment(found, _tiers(tiers, phones) or (), source="textgrid")


def _open(path: Path) -> Any:
    from praatio import textgrid

    try:
        return textgrid.openTextgrid(
            str(path), includeEmptyIntervals=False, reportingMode="silence", duplicateNamesMode="rename"
        )
    except Exception as error:  # praatio and its parsing raise of many kinds, all about this file
        words = (str(error).strip() or type(error).__name__).split("\n", 1)[0][:120]
        raise TextGridError(f"{path.name}: cannot be read as a TextGrid: {words}") from error


def _tiers(tiers: list[Any], wanted: str) -> tuple[Segment, ...] | None:
    """The segments of every tier of this name, whoever's it is; None where there is no such tier."""
    name = wanted.casefold()
    chosen = [t for t in tiers if t.name.casefold() == name or t.name.casefold().endswith(f" - {name}")]
    if not chosen:
        return None
    spans = sorted((entry.start, entry.end, entry.label) for tier in chosen for entry in tier.entries)
    return tuple(Segment(label, start, end) for start, end, label in spans if not is_silence(label))
