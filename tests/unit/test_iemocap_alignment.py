"""Sphinx's segment files as segments in seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.iemocap_trees import write
from trainables.alignment.base import Segment
from trainables.importers.iemocap_alignment import read_alignment, read_segments

WORDS = """\t SFrm  EFrm    SegAScr Word
    0    40    -103443 <s>
   41    72     -17530 WHAT(2)
   73    73        -10 <sil>
   74    90     -20000 ++NOISE++
   91   110     -20000 +LAUGHTER+
  111   132     -20000 [BREATHING]
  133   146    -258661 DON'T
  147   156    -308615 </s>
 Total score:     -728279
"""
PHONES = """\t SFrm  EFrm    SegAScr Phone
    0    40    -103443 SIL
   41    50     -17530 W SIL AH b
   51    72     -17530 AX W T i
  133   146    -258661 D SIL OW b
 Total score:     -728279
"""
SYLLABLES = """\t SFrm  EFrm    SegAScr Syllable
    0    40    -103443 <s>
   41    72     -17530 W  AX T
  133   146    -258661 D OW N T
"""


def starts(segments: tuple[Segment, ...]) -> list[tuple[str, float, float]]:
    return [(s.label, round(s.start, 6), round(s.end, 6)) for s in segments]


def test_words_phones_and_syllables_without_their_fillers(tmp_path: Path) -> None:
    texts = {"wdseg": WORDS, "phseg": PHONES, "syseg": SYLLABLES}
    found = read_alignment({kind: write(tmp_path / f"u.{kind}", text) for kind, text in texts.items()})
    assert found is not None
    assert found.source == "corpus"
    assert starts(found.words) == [("WHAT", 0.41, 0.73), ("DON'T", 1.33, 1.47)]
    assert starts(found.phones) == [("W", 0.41, 0.51), ("AX", 0.51, 0.73), ("D", 1.33, 1.47)]
    assert starts(found.syllables) == [("W AX T", 0.41, 0.73), ("D OW N T", 1.33, 1.47)]


@pytest.mark.parametrize(
    ("kinds", "there"), [("wdseg phseg", True), ("wdseg syseg", False), ("phseg", False), ("", False)]
)
def test_words_and_phones_make_an_alignment(tmp_path: Path, kinds: str, there: bool) -> None:
    paths = {kind: write(tmp_path / f"u.{kind}", "1 2 -3 AH\n") for kind in kinds.split()}
    found = read_alignment(paths)
    assert (found is not None) == there
    assert found is None or found.syllables == ()


@pytest.mark.parametrize("line", ["a 2 -3 AH", "1 2 AH", "5 4 -3 AH", "1 2 -3"])
def test_a_broken_line_is_told(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "u.wdseg", f"\t SFrm EFrm SegAScr Word\n 1 2 -3 AH\n {line}\n")
    with pytest.raises(ValueError, match=r"u.wdseg: line 3 is "):
        read_segments(path, "wdseg")
