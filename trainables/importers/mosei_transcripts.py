"""`Raw/Transcript/Segmented/Combined/<video>.txt`: a segment a line, `video___clip___start___end___text`.

The text may itself hold `___`. Some files hold bytes as Python writes them (b'...'), others numbers in the place of
words (issue 157 of the SDK): the former are decoded, the latter count as times without text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CorpusError

TOLERANCE = 0.1
"""Seconds by which a line's start and end may differ from the labels', which are rounded to float32 and moved."""
_NUMBER = r"-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_LINE = re.compile(rf"(.+?)___(\d+)___({_NUMBER})___({_NUMBER})___(.*)")
_BYTES = re.compile(r"b(['\"]).*\1")
_DIGITS = re.compile(r"[\d\s.,:-]+")
_BREAK = re.compile(r"[\r\n]+")
"""`str.splitlines` would cut a text at U+0085 and U+2028, too."""


@dataclass(frozen=True)
class Line:
    """`start` and `end` are seconds of the recording, as they stand."""

    clip: int
    start: float
    end: float
    text: str


def read_transcript(path: Path) -> list[Line]:
    """The lines of that form, in the file's order; others are passed over. CorpusError where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    matches = (_LINE.fullmatch(_plain(line.strip())) for line in _BREAK.split(_decoded(data)))
    found = [Line(int(m[2]), float(m[3]), float(m[4]), _plain(m[5].strip())) for m in matches if m]
    if found and all(_DIGITS.fullmatch(line.text) for line in found):
        return [Line(line.clip, line.start, line.end, "") for line in found]
    return found


def matching(lines: Sequence[Line], start: float, end: float) -> Line | None:
    """The line of those times, the nearest within `TOLERANCE` at both ends, negative ones taken as 0."""
    near = [(abs(max(0.0, line.start) - start), abs(max(0.0, line.end) - end), line) for line in lines]
    within = [found for found in near if max(found[:2]) <= TOLERANCE]
    return min(within, key=lambda found: (found[0] + found[1], found[2].clip))[2] if within else None


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _plain(text: str) -> str:
    """Bytes as Python writes them, decoded; anything else as it stands."""
    if not _BYTES.fullmatch(text):
        return text
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
    return value.decode("utf-8", errors="replace").strip() if isinstance(value, bytes) else text
