"""CREMA-D's crowd-sourced votes: how many raters heard, saw, or heard and saw which emotion.

`tabulatedVotes.csv` has a row a clip and presentation, whose first column is 100000 times the presentation (1
voice, 2 face, 3 both) plus the clip's number, and counts in the columns A, D, F, H, N and S. `summaryTable.csv` has
a row a clip with the emotions of most votes alone (`VoiceVote`, `FaceVote`, `MultiModalVote`), tied ones joined by
colons. What the corpus calls a majority is the most votes, not more than half of them.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

from trainables.errors import CorpusError
from trainables.importers import lfs

Presentation = Literal["voice", "face", "both"]
LETTERS = "ADFHNS"
"""Of the emotions, in the order of the labels."""
NO_VOTES = "no votes"
_QUERIES: dict[int, Presentation] = {1: "voice", 2: "face", 3: "both"}
_COLUMNS: dict[Presentation, str] = {"voice": "VoiceVote", "face": "FaceVote", "both": "MultiModalVote"}


def presentation(modalities: Collection[str]) -> Presentation:
    """What the raters of the votes were given: what the corpus is read with, and the voice with text alone."""
    if "visual" not in modalities:
        return "voice"
    return "both" if "audio" in modalities else "face"


def full_name(name: str) -> str:
    """The clip's name as the tables have it: one file was long named with the level X instead of XX."""
    upper = name.strip().upper()
    return f"{upper}X" if upper.endswith("_X") else upper


def read_counts(path: Path, given: Presentation) -> dict[str, tuple[int, ...]]:
    """Votes per letter of `LETTERS` by the clip's name. CorpusError naming the row that cannot be read."""
    found: dict[str, tuple[int, ...]] = {}
    for number, row in _rows(path, ("fileName", *LETTERS)):
        try:
            query = _QUERIES[int(float(next(iter(row.values())))) // 100_000]
            counts = tuple(int(float(row[letter])) for letter in LETTERS)
        except (KeyError, ValueError) as error:
            raise CorpusError(
                f"{path}: line {number}: its first column must be 100000 (voice), 200000 (face) or 300000 (both) "
                f"plus the clip's number, and {', '.join(LETTERS)} counts of votes; take the corpus's own file"
            ) from error
        if query == given:
            found[full_name(row["fileName"])] = counts
    return found


def read_majorities(path: Path, given: Presentation) -> dict[str, str]:
    """The letter of most votes, or several joined by colons, by the clip's name."""
    column, found = _COLUMNS[given], dict[str, str]()
    for number, row in _rows(path, ("FileName", column)):
        letters = row[column].strip().split(":")
        if not set(letters) <= set(LETTERS):
            raise CorpusError(f"{path}: line {number}: {column} {row[column]!r}; votes are {', '.join(LETTERS)}")
        found[full_name(row["FileName"])] = ":".join(letters)
    return found


def shares(counts: Sequence[int] | None) -> list[float] | None:
    """[labels] that sum to 1; None without votes."""
    total = sum(counts or ())
    return [count / total for count in counts] if counts and total else None


def majority(counts: Sequence[int] | None) -> str:
    """The letter of most votes, tied ones joined by colons, as `summaryTable.csv` has it."""
    if not counts or not any(counts):
        return NO_VOTES
    return ":".join(letter for letter, count in zip(LETTERS, counts, strict=True) if count == max(counts))


def read_actors(path: Path) -> dict[str, tuple[str, int]]:
    """Sex (`male` or `female`) and age in years by the actor's number, of `VideoDemographics.csv`."""
    found = {}
    for number, row in _rows(path, ("ActorID", "Age", "Sex")):
        try:
            found[row["ActorID"].strip()] = (row["Sex"].strip().lower(), int(float(row["Age"])))
        except ValueError as error:
            raise CorpusError(f"{path}: line {number}: Age {row['Age']!r} is no number of years") from error
    return found


def _rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, row) of a CSV file with these columns; CorpusError where one is missing or a row is short."""
    if lfs.is_stub(path):
        raise CorpusError(lfs.explain(1, 1, path))
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path}: no column {', '.join(missing)}; take the corpus's own file")
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read as a CSV file ({error}); take the corpus's own file") from error
