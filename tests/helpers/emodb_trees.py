"""Small trees of EmoDB's shape: tones under its names, labels of chosen syllables and phones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.helpers.sounds import write_sound

SPEAKERS = ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16")
Line = tuple[float, str]
"""When it begins (seconds), and what the label file says there."""

A01 = [(0.1, "der"), (0.2, "la"), (0.3, "pen"), (0.4, "liegt"), (0.5, "auf"), (0.6, "dem"), (0.7, "eis"),
       (0.8, "schrank"), (0.9, ".")]  # fmt: skip
"""The syllables of "Der Lappen liegt auf dem Eisschrank.", a tenth of a second each."""
HEADER = """signal wochenAO
type 0
comment created using xlabel Tue May  7 15:45:02 2002
color 125
separator ;
nfields 1
#
"""


def names(sentence: str = "a01", emotions: str = "NW") -> list[str]:
    """One utterance of every speaker for each emotion."""
    return [f"{speaker}{sentence}{emotion}a" for speaker in SPEAKERS for emotion in emotions]


def write_tree(
    root: Path, files: Iterable[str], folder: str = "wav", suffix: str = "wav", seconds: float = 1.0
) -> Path:
    for number, name in enumerate(files):
        write_sound(root / folder / f"{name}.{suffix}", seconds, 200 + number)
    return root


def write_syllables(root: Path, name: str, lines: Sequence[Line] = A01) -> Path:
    return _write(root / "silb" / f"{name}.silb", "".join(f"{time:f}\t{label}\n" for time, label in lines))


def write_phones(root: Path, name: str, lines: Sequence[Line], header: str = HEADER) -> Path:
    """As xlabel does: the colour and a blank before each label."""
    told = "".join(f"    {time:f}   -1 {label}\n" for time, label in lines)
    return _write(root / "lablaut" / f"{name}xx.lablaut", header + told)


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="latin-1")
    return path
