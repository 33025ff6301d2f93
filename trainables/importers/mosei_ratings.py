"""`Raw/Labels/*.csv`: what each rater said, as Amazon Mechanical Turk exports it, a row a rater and segment.

Read where there is no `CMU_MOSEI_Labels.csd`; a segment's scores are the means of its raters. Columns are found by
their names: the order is another one than the .csd's, and two emotions have other names. Batches repeat each other,
so that a rater counts once a segment. The files have no times: those are the transcripts'.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import fmean

from trainables.errors import CorpusError
from trainables.importers.mosei_files import RATING
from trainables.importers.mosei_labels import NAMES, Labelled
from trainables.spec.corpus import SIX_EMOTIONS

_ANSWER = "Answer."
_RATER = "WorkerId"

Rating = tuple[tuple[str, int], str, tuple[float, ...]]
"""(video, clip), rater, and the scores of `SIX_EMOTIONS`."""


def read_ratings(paths: Iterable[Path]) -> tuple[list[Labelled], int]:
    """Segments by video and clip, and how many rows were passed over, as they lack an answer.

    Raises CorpusError naming file, row and value.
    """
    scores: dict[tuple[str, int], dict[str, tuple[float, ...]]] = {}
    unanswered = 0
    for path in paths:
        for number, rating in enumerate(_read(path), start=2):
            if rating is None:
                unanswered += 1
                continue
            segment, rater, said = rating
            scores.setdefault(segment, {}).setdefault(rater or f"{path.name} {number}", said)
    found = [
        Labelled(video, clip, tuple(fmean(column) for column in zip(*of.values(), strict=True)), clip=clip)
        for (video, clip), of in sorted(scores.items())
    ]
    return found, unanswered


def _read(path: Path) -> Iterator[Rating | None]:
    """A rating a row, None for one without all six answers."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            columns = _columns(path, [name.strip() for name in reader.fieldnames or ()])
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for number, row in enumerate(reader, start=2):
                yield _rating(row, columns, f"{path}: row {number}")
    except (OSError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read as CSV ({error})") from error


def _columns(path: Path, names: list[str]) -> list[str]:
    """The column of each of `SIX_EMOTIONS`."""
    answers = {NAMES[name]: _ANSWER + name for name in NAMES if _ANSWER + name in names}
    missing = [label for label in SIX_EMOTIONS if label not in answers]
    if missing:
        raise CorpusError(
            f"{path}: no column of answers for {', '.join(missing)} (as Answer.anger); its header is "
            f"{', '.join(names)}"
        )
    return [answers[label] for label in SIX_EMOTIONS]


def _rating(row: Mapping[str, str | None], columns: Iterable[str], where: str) -> Rating | None:
    video, clip = ((row.get(name) or "").strip() for name in RATING)
    number = _number(clip, f"{where}: {RATING[1]}")
    if not video or number is None or not number.is_integer():
        raise CorpusError(f"{where}: {RATING[0]} {video!r}, {RATING[1]} {clip!r}; an id and a number are wanted")
    answers = [_number((row.get(name) or "").strip(), f"{where}: {name}") for name in columns]
    said = tuple(answer for answer in answers if answer is not None)
    return ((video, int(number)), (row.get(_RATER) or "").strip(), said) if len(said) == len(answers) else None


def _number(value: str, where: str) -> float | None:
    """None for an empty cell."""
    if not value or value.lower() == "nan":
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise CorpusError(f"{where} is {value!r}, not a number")
    return number
