"""MELD's CSV files: one `Utterance` a row, every fault an error that names the file, the row and the value.

Row numbers are those a spreadsheet shows: the header is row 1. The text is UTF-8 (a byte order mark is
tolerated), else cp1252, as old copies are; C1 control characters left by a wrong conversion (U+0092 for ’) are
mended, white space at the ends is cut, and nothing else is changed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CorpusError

REQUIRED = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d+)")


@dataclass(frozen=True)
class Utterance:
    """One CSV row. `start` and `end` are seconds into the episode, None where the row does not say."""

    split: str
    dialogue_id: int
    utterance_id: int
    clip: tuple[int, int]
    """(dialogue, utterance) in the clip's file name; the dyadic CSV renumbers, but not the files."""
    speaker: str
    label: str
    text: str
    episode: tuple[str, str]
    start: float | None
    end: float | None

    @property
    def uid(self) -> str:
        return f"{self.dialogue}-utt{self.utterance_id}"

    @property
    def dialogue(self) -> str:
        return f"{self.split}-dia{self.dialogue_id}"

    @property
    def empty_interval(self) -> bool:
        return self.start is not None and self.end is not None and self.start >= self.end


def read_utterances(path: Path, split: str, labels: Sequence[str]) -> list[Utterance]:
    """The rows of one split, by (dialogue, utterance)."""
    reader = csv.DictReader(io.StringIO(decode(path), newline=""))
    columns = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(missing)}; its header is {', '.join(columns) or 'empty'}")
    reader.fieldnames = columns
    found: dict[tuple[int, int], Utterance] = {}
    try:
        for number, row in enumerate(reader, start=2):
            where = f"{path}: row {number}"
            utterance = _utterance(row, split, labels, where)
            key = (utterance.dialogue_id, utterance.utterance_id)
            if key in found:
                raise CorpusError(f"{where}: Dialogue_ID {key[0]}, Utterance_ID {key[1]} occurs a second time")
            found[key] = utterance
    except csv.Error as error:
        raise CorpusError(f"{path}: line {reader.line_num}: {error}") from error
    if not found:
        raise CorpusError(f"{path}: no rows below its header")
    return [found[key] for key in sorted(found)]


def decode(path: Path) -> str:
    """The file's text; CorpusError where it is neither UTF-8 nor cp1252."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror})") from error
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CorpusError(f"{path}: neither UTF-8 nor cp1252; save it again as UTF-8")


def clean(text: str) -> str:
    """`text` without white space at its ends, its C1 controls read as the cp1252 characters they once were."""
    return re.sub(r"[\x80-\x9f]", _as_cp1252, text).strip()


def copies(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    """uid -> the other rows of the same text, episode and times, whichever split they are in."""
    groups: dict[tuple[object, ...], list[Utterance]] = {}
    for row in utterances:
        if row.start is not None and any(row.episode):
            groups.setdefault((row.text, row.episode, row.start, row.end), []).append(row)
    return {
        row.uid: [other for other in group if other is not row]
        for group in groups.values()
        if len(group) > 1
        for row in group
    }


def _utterance(row: Mapping[str, str | None], split: str, labels: Sequence[str], where: str) -> Utterance:
    absent = [name for name in REQUIRED if row.get(name) is None]
    if absent:
        raise CorpusError(f"{where}: the row ends before {', '.join(absent)}")
    values = {name: value or "" for name, value in row.items()}
    label = values["Emotion"].strip().lower()
    if label not in labels:
        raise CorpusError(f"{where}: unknown Emotion {values['Emotion']!r}; known are {', '.join(labels)}")
    dialogue, utterance = (_integer(values, name, where) for name in ("Dialogue_ID", "Utterance_ID"))
    clip = (dialogue, utterance)
    if "Old_Dialogue_ID" in values:
        clip = (_integer(values, "Old_Dialogue_ID", where), _integer(values, "Old_Utterance_ID", where))
    return Utterance(
        split=split,
        dialogue_id=dialogue,
        utterance_id=utterance,
        clip=clip,
        speaker=clean(values["Speaker"]),
        label=label,
        text=clean(values["Utterance"]),
        episode=(values.get("Season", "").strip(), values.get("Episode", "").strip()),
        start=_seconds(values.get("StartTime", "")),
        end=_seconds(values.get("EndTime", "")),
    )


def _integer(values: Mapping[str, str], name: str, where: str) -> int:
    value = values.get(name, "")
    if not value.strip().isdecimal():
        raise CorpusError(f"{where}: {name} is {value!r}, not a number from 0")
    return int(value)


def _seconds(value: str) -> float | None:
    found = _TIME.fullmatch(value.strip())
    if found is None:
        return None
    hours, minutes, seconds = (int(part) for part in found.groups()[:3])
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{found[4]}")


def _as_cp1252(found: re.Match[str]) -> str:
    # five of the thirty-two positions mean nothing in cp1252 either: those are dropped
    return found[0].encode("latin-1").decode("cp1252", errors="ignore")
