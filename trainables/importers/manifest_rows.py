"""What a manifest's rows say, checked cell by cell: every fault names the file, the row and the value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainables.corpus import SPLITS
from trainables.errors import CorpusError
from trainables.folds import next_is_dev
from trainables.importers.manifest_boxes import boxes_of
from trainables.importers.manifest_labels import labels_of, number_of, targets_of, votes_of
from trainables.importers.manifest_table import Manifest
from trainables.importers.rows import RawRow
from trainables.importers.speakers import NOBODY, shared_remark, shared_speakers
from trainables.spec import ManifestSpec


@dataclass(frozen=True)
class Read:
    rows: list[RawRow]
    """In the order split (with one official split), dialogue (by its first row), turn."""
    labels: tuple[str, ...]
    speaker_disjoint: list[str]
    remarks: list[str]


def read_rows(manifest: Manifest, spec: ManifestSpec) -> Read:
    manifest.require("label", "the class of the row")
    for modality in ("audio", "text"):
        if modality in spec.modalities:
            manifest.require(modality, f"which modality {modality} reads")
    if "visual" in spec.modalities and "audio" not in manifest.columns:
        manifest.require("video", "nor 'audio', one of which modality visual reads")
    labels = labels_of(manifest, spec)
    targets = targets_of(manifest, labels) if spec.several else [None] * len(manifest.rows)
    folds = _folds(manifest, spec)
    splits = [row[0] for row in folds]
    uids = _uids(manifest)
    dialogues, turns, order = _dialogues(manifest, uids, folds)
    votes = votes_of(manifest, labels) if spec.votes else [None] * len(uids)
    boxes, unboxed = boxes_of(manifest, spec)
    media = spec.modalities != ("text",)
    rows = []
    ranks = [0 if spec.folds else SPLITS.index(split) for split in splits]
    for index in sorted(range(len(uids)), key=lambda i: (ranks[i], order[i], i)):
        cells = manifest.rows[index]
        start, end = _part(manifest, index) if media else (0.0, None)
        row = RawRow(
            uid=uids[index],
            split=splits[index],
            dialogue=dialogues[index],
            turn=turns[index],
            speaker=_speaker(cells),
            label=cells["label"].strip(),
            text=cells.get("text", ""),
            clip=manifest.place(index) if media else None,
            folds=folds[index] if spec.folds else None,
            start=start,
            end=end,
            votes=votes[index],
            targets=targets[index],
            video=manifest.place(index, "video") if "visual" in spec.modalities else None,
            box=boxes[index],
        )
        rows.append(row)
    shared = _shared([_speaker(cells) for cells in manifest.rows], folds)
    disjoint = [split for split in SPLITS if not shared[split]] if "speaker" in manifest.columns else []
    return Read(rows, labels, disjoint, [*unboxed, *shared_remark(shared["test"] - {NOBODY})])


def _folds(manifest: Manifest, spec: ManifestSpec) -> list[list[str]]:
    """[rows][folds]: the splits of each row; one with the official split."""
    column = "fold" if spec.folds else "split"
    other = "split" if spec.folds else "fold"
    hint = f" (it has {other!r}: is folds: {spec.folds} right?)" if other in manifest.columns else ""
    manifest.require(column, f"which folds: {spec.folds} reads{hint}")
    values = [row[column].strip() for row in manifest.rows]
    if not spec.folds:
        for index, value in enumerate(values):
            if value not in SPLITS:
                raise CorpusError(f"{manifest.where(index)}: split {value!r}; splits are {', '.join(SPLITS)}")
        _all_there(manifest, "split", SPLITS, set(values))
        return [[value] for value in values]
    numbers = [_fold(value, spec.folds, manifest.where(index)) for index, value in enumerate(values)]
    _all_there(manifest, "fold", range(spec.folds), set(numbers))
    return next_is_dev(numbers, spec.folds)


def _all_there(manifest: Manifest, what: str, wanted: Sequence[object], found: set[object]) -> None:
    for value in wanted:
        if value not in found:
            raise CorpusError(f"{manifest.path}: no row has {what} {value}; {len(wanted)} are wanted")


def _fold(value: str, folds: int, where: str) -> int:
    number = number_of(value, f"{where}: fold")
    if number is None or not number.is_integer() or number >= folds:
        raise CorpusError(f"{where}: fold {value!r}; with folds: {folds} they are 0 to {folds - 1}")
    return int(number)


def _uids(manifest: Manifest) -> list[str]:
    width = len(str(len(manifest.rows) + 1))
    first: dict[str, int] = {}
    for index, row in enumerate(manifest.rows):
        uid = row.get("uid", "").strip() or f"row-{index + 2:0{width}d}"
        if uid in first:
            raise CorpusError(f"{manifest.where(index)}: uid {uid!r} is row {first[uid] + 2}'s already")
        first[uid] = index
    return list(first)


def _dialogues(
    manifest: Manifest, uids: Sequence[str], folds: Sequence[Sequence[str]]
) -> tuple[list[str], list[int], list[int]]:
    """Each row's dialogue, its turn in it, and the index of the dialogue's first row."""
    names = [row.get("dialogue", "").strip() or uid for row, uid in zip(manifest.rows, uids, strict=True)]
    first: dict[str, int] = {}
    length: dict[str, int] = {}
    turns = []
    for index, name in enumerate(names):
        start = first.setdefault(name, index)
        if folds[start] != folds[index]:
            raise CorpusError(
                f"{manifest.where(index)}: dialogue {name!r} is in another split in row {start + 2}; "
                "a dialogue lies in one split"
            )
        turns.append(length.get(name, 0))
        length[name] = turns[-1] + 1
    return names, turns, [first[name] for name in names]


def _speaker(cells: dict[str, str]) -> str:
    return cells.get("speaker", "").strip() or NOBODY


def _part(manifest: Manifest, index: int) -> tuple[float, float | None]:
    cells, where = manifest.rows[index], manifest.where(index)
    start = number_of(cells.get("start", ""), f"{where}: start") or 0.0
    end = number_of(cells.get("end", ""), f"{where}: end")
    if end is not None and end <= start:
        raise CorpusError(f"{where}: end {end:g} s is not after start {start:g} s")
    return start, end


def _shared(speakers: Sequence[str], folds: Sequence[Sequence[str]]) -> dict[str, set[str]]:
    """By split: who speaks in it and in another split too, in any fold."""
    shared: dict[str, set[str]] = {split: set() for split in SPLITS}
    for column in zip(*folds, strict=True):
        heard: dict[str, set[str]] = {split: set() for split in SPLITS}
        for speaker, split in zip(speakers, column, strict=True):
            heard[split].add(speaker)
        for split, who in shared_speakers(heard).items():
            shared[split] |= who
    return shared
