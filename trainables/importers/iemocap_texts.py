"""IEMOCAP's text files: consensus labels, the raters' categories, transcripts.

Lines that the release has beside those are passed over: headers, attributes with or without `dom`, what the actors
said of themselves, transcript lines without an id. A label or a category that is unknown is an error with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CorpusError
from trainables.importers.iemocap_labels import CATEGORIES, CODES

DIALOGUE_NAME = r"Ses0[1-5][FM]_(?:impro|script)\d\d[ab]?(?:_\d[ab]?)?"
TURN_NAME = rf"{DIALOGUE_NAME}_[FM][X\d]{{2}}\d"
_TURN_LINE = re.compile(rf"\[(\d+\.\d+)\s*-\s*(\d+\.\d+)\]\s+({TURN_NAME})\s+(\w+)\s+\[.*\]")
_RATER_LINE = re.compile(r"C-E(\d+)\s*:(.*)")
_RATING_LINE = re.compile(rf"({TURN_NAME})\s*:(.*)")
_SAID_LINE = re.compile(rf"({TURN_NAME})\s*\[[\d. -]+\]\s*:(.*)")


@dataclass(frozen=True)
class Turn:
    """One block of an EmoEvaluation file. `start` and `end` are seconds into the dialogue."""

    uid: str
    code: str
    start: float
    end: float

    @property
    def dialogue(self) -> str:
        return self.uid.rpartition("_")[0]

    @property
    def session(self) -> str:
        return self.uid[4]

    @property
    def speaker(self) -> str:
        """Session and who speaks, e.g. `01F`: the letter of the last token.

        The one of the first token says who wears the markers.
        """
        return self.uid[3:5] + self.uid.rpartition("_")[2][0]


Ratings = dict[str, dict[str, frozenset[str]]]
"""uid -> rater, such as `e2` -> the codes that the rater named."""


def read_evaluation(path: Path) -> tuple[list[Turn], Ratings]:
    """The turns of `EmoEvaluation/<dialogue>.txt` in time, and what its `C-E` lines say of them."""
    turns: dict[str, Turn] = {}
    ratings: Ratings = {}
    last = None
    for where, line in _lines(path):
        if line.startswith("["):
            turn = _turn(line, where)
            if turn.uid in turns:
                raise CorpusError(f"{where}: {turn.uid} occurs a second time")
            turns[turn.uid] = turn
            last = turn.uid
        elif last and (found := _RATER_LINE.fullmatch(line)):
            _note(ratings, last, f"e{found[1]}", found[2], where)
    return sorted(turns.values(), key=lambda turn: (turn.start, turn.end, turn.uid)), ratings


def read_ratings(path: Path) -> Ratings:
    """`Categorical/<dialogue>_e2_cat.txt`, one rater's: `Ses01F_impro01_F000 :Anger; :Frustration; (tired)`."""
    rater = path.stem.lower().split("_")[-2]
    ratings: Ratings = {}
    for where, line in _lines(path):
        if found := _RATING_LINE.fullmatch(line):
            _note(ratings, found[1], rater, found[2], where)
    return ratings


def read_transcript(path: Path) -> dict[str, str]:
    """uid -> what is said, tags such as `[LAUGHTER]` left as they are, of `transcriptions/<dialogue>.txt`.

    `Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.` The text may hold colons; the first line of an id counts.
    """
    said: dict[str, str] = {}
    for _, line in _lines(path):
        if found := _SAID_LINE.fullmatch(line):
            said.setdefault(found[1], found[2].strip())
    return said


def _turn(line: str, where: str) -> Turn:
    found = _TURN_LINE.fullmatch(line)
    if found is None:
        raise CorpusError(f"{where}: {line!r} is not [start - end], a turn's name, its label and [V, A, D]")
    start, end, uid, code = found.groups()
    if code not in CODES:
        raise CorpusError(f"{where}: unknown label {code!r} of {uid}; known are {', '.join(CODES)}")
    return Turn(uid, code, float(start), float(end))


def _note(ratings: Ratings, uid: str, rater: str, told: str, where: str) -> None:
    """Categories end with `;` and may begin with `:`; the bracket at the end is the rater's own words."""
    names = [name.strip() for name in re.split("[;:]", told.split("(", 1)[0])]
    unknown = [name for name in names if name and name.lower() not in CATEGORIES]
    if unknown:
        raise CorpusError(
            f"{where}: unknown category {unknown[0]!r} of {uid}; known are {', '.join(sorted(CATEGORIES))}"
        )
    codes = frozenset(CATEGORIES[name.lower()] for name in names if name)
    if codes:
        ratings.setdefault(uid, {})[rater] = codes


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(file and line number, the line without white space at its ends).

    UTF-8, else cp1252 (which has latin-1's letters) with what it lacks replaced.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        yield f"{path}: line {number}", line.strip()
