"""Berlin EmoDB (Burkhardt et al., Interspeech 2005): files named as `03a01Fa.wav`, and the labels made by hand.

The name says speaker (03, 08 to 16), sentence, emotion (a letter of its German name) and version. Audio is WAV or
FLAC, in whatever folders; labels are found by their suffixes. Fold k tests the k-th speaker; the next one is dev.
`erkennung.txt` (the share of listeners who heard the emotion meant) is not read: it does not say what the others
heard, so that it is no vote.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.errors import CorpusError
from trainables.folds import gather, next_is_dev
from trainables.importers.base import Prepared, Progress
from trainables.importers.emodb_labels import SENTENCES, Entry, align, read_entries
from trainables.importers.files import Clips, find_clips, some, walk
from trainables.spec import EmoDBSpec

EMOTIONS = {
    "N": "neutral",
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
}
"""By the letter in the name; the labels in their order."""
SPEAKERS = {"03": "male", "08": "female", "09": "female", "10": "male", "11": "male",
            "12": "male", "13": "female", "14": "female", "15": "male", "16": "female"}  # fmt: skip
_NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])[a-z]")
_LABELS = re.compile(r"(\d\d[a-z]\d\d[A-Z][a-z])(?:xx)?\.(lablaut|silb|labsilb)")


@dataclass(frozen=True)
class Layout:
    """`labels` goes by (name, suffix)."""

    clips: Clips
    labels: Mapping[tuple[str, str], Path]

    def digest(self) -> str:
        """Over the clips' names and sizes and the labels' bytes."""
        total = hashlib.sha256()
        for line in self.clips.digest_lines():
            total.update(line)
        for name, path in sorted(self.labels.items()):
            if name[0] in self.clips.of:
                total.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return total.hexdigest()[:16]


class EmoDBImporter:
    labels = tuple(EMOTIONS.values())
    expected = {"all": 535}
    stand_in = False

    def source_digest(self, spec: EmoDBSpec, root: Path | None) -> str:
        return find_layout(root).digest()

    def prepare(self, spec: EmoDBSpec, root: Path | None, out: Path, workers: int, progress: Progress) -> Prepared:
        from trainables.importers.rows import RawRow, write_rows

        layout = find_layout(root)
        layout.clips.check_copies()
        names = list(layout.clips.of)
        folds = _folds(root, [name[:2] for name in names])
        rows, absent = [], dict[str, list[str]]()
        for name, splits in zip(names, folds, strict=True):
            phones, syllables, fault = _entries(name, layout)
            for kind, entries in (("phones", phones), ("syllables", syllables)):
                if not entries:
                    absent.setdefault(kind, []).append(name)
            row = RawRow(
                uid=name,
                split=splits[0],
                dialogue=name,  # acted sentence by sentence
                speaker=name[:2],
                label=EMOTIONS[name[5]],
                text=SENTENCES[name[2:5]],
                clip=layout.clips.of[name].path,
                folds=splits,
                alignment=align(name[2:5], phones, syllables),
                reason=fault,
            )
            rows.append(row)
        remarks = [*layout.clips.remarks(), *_absences(absent, len(rows))]
        written = write_rows(rows, spec, out, workers, progress, remarks=remarks, root=root)
        facts = {"speaker_disjoint": ["train", "dev", "test"], "genders": SPEAKERS}
        return Prepared(written.rows, written.problems, {**written.info, **facts})


def find_layout(root: Path | None) -> Layout:
    """CorpusError where there is no clip, or naming the first whose name is none of EmoDB's."""
    if root is None:
        raise CorpusError("EmoDB needs a folder: say where it lies with --root, or set ORCH_CORPORA__EMODB")
    entries = list(walk(root, "EmoDB"))
    clips = find_clips(entries, _is_emodb)
    if not clips.of:
        raise CorpusError(f"{root}: not EmoDB: no clips named as 03a01Fa.wav (or .flac) below it")
    labels: dict[tuple[str, str], Path] = {}
    for entry in entries:
        match = _LABELS.fullmatch(entry.name)
        if match:  # an empty one may lie beside the right one
            kept = labels.setdefault((match[1], match[2]), Path(entry.path))
            if entry.stat().st_size > kept.stat().st_size:
                labels[match[1], match[2]] = Path(entry.path)
    return Layout(clips, labels)


def _is_emodb(path: Path) -> bool:
    name = _NAME.fullmatch(path.stem)
    if name is None:
        raise CorpusError(f"{path}: not a name of EmoDB's: speaker, sentence, emotion and version, as in 03a01Fa")
    parts = (("speaker", name[1], SPEAKERS), ("sentence", name[2], SENTENCES), ("emotion", name[3], EMOTIONS))
    for what, value, known in parts:
        if value not in known:
            raise CorpusError(f"{path}: unknown {what} {value!r}; EmoDB's are {', '.join(known)}")
    return True


def _folds(root: Path | None, speakers: Sequence[str]) -> list[list[str]]:
    try:
        return next_is_dev(gather(speakers, len(SPEAKERS)), len(SPEAKERS))
    except ValueError as error:
        raise CorpusError(f"{root}: EmoDB is cross-validated by its ten speakers: {error}") from error


def _entries(name: str, layout: Layout) -> tuple[list[Entry], list[Entry], str]:
    """Phones, syllables, and the fault of a label file that cannot be read. `labsilb` says what `silb` says."""
    faults: list[str] = []

    def read(kind: str) -> list[Entry]:
        path = layout.labels.get((name, kind))
        try:
            return read_entries(path) if path else []
        except CorpusError as error:
            faults.append(str(error))
            return []

    return read("lablaut"), read("silb") or read("labsilb"), "; ".join(faults)


def _absences(absent: Mapping[str, Sequence[str]], rows: int) -> Iterator[str]:
    for kind, names in absent.items():
        told = some(names)
        yield f"{len(names)} of {rows} rows have no {kind}, as there is no label file or an empty one: {told}"
