"""IEMOCAP's forced alignments: `<turn>.wdseg`, `.phseg` and `.syseg`, as CMU Sphinx-3's aligner writes them.

    SFrm  EFrm    SegAScr Word
       0    29    -103443 <s>
      30    72     -17530 HELLO(2)
 Total score:     -120973

Frames last 10 ms and `EFrm` is the last one of the segment, which so ends where the next frame begins. What follows
a phone in its line is its context; a syllable's label is the whole rest of the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from trainables.alignment.base import Alignment, Segment

FRAME_SECONDS = 0.01
KINDS = ("wdseg", "phseg", "syseg")
_LINE = re.compile(r"(\d+)\s+(\d+)\s+(-?\d+)\s+(\S.*)")
_FILLER = re.compile(r"<.*>|\+.*\+|\[.*\]|sil|", re.IGNORECASE)


def read_alignment(paths: Mapping[str, Path]) -> Alignment | None:
    """Of the files by kind; None without the words' or the phones'. ValueError and OSError where one is broken."""
    if not {"wdseg", "phseg"} <= paths.keys():
        return None
    words, phones, syllables = (read_segments(paths[kind], kind) if kind in paths else () for kind in KINDS)
    return Alignment(words, phones, syllables, source="corpus")


def read_segments(path: Path, kind: str) -> tuple[Segment, ...]:
    """Without silences and noises, in seconds from the clip's start."""
    found = []
    lines = path.read_text(encoding="latin-1").splitlines()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text or text.startswith(("SFrm", "Total score")):
            continue
        fields = _LINE.fullmatch(text)
        if fields is None or int(fields[2]) < int(fields[1]):
            raise ValueError(f"{path.name}: line {number} is {text!r}, not first frame, last frame, score, label")
        label = _label(fields[4], kind)
        if not _FILLER.fullmatch(label):
            found.append(Segment(label, int(fields[1]) * FRAME_SECONDS, (int(fields[2]) + 1) * FRAME_SECONDS))
    return tuple(found)


def _label(text: str, kind: str) -> str:
    """`HELLO(2)`, the second pronunciation of the word, is `HELLO`."""
    if kind == "syseg":
        return " ".join(text.split())
    first = text.split(maxsplit=1)[0]
    return re.sub(r"\(\d+\)$", "", first) if kind == "wdseg" else first
