"""Rows of a corpus whose utterances are known before any clip is read: clips in, shards out.

A row whose sound is read has the sound's status, and `images` stay null where its pictures cannot be read: its
reason says why. Where pictures alone are read the status is theirs.

A row keeps its alignment where the spec wants the corpus's own and there is audio that it is of. Segments that
start beyond the end of the audio are left out and the last one is cut: labels may be of
longer recordings than the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.alignment.base import Alignment, Segment
from trainables.corpus import SPLITS, Status, joined, text_hash
from trainables.importers.base import Prepared, Problem, Progress
from trainables.importers.clips import Clip, Job, read_all, together
from trainables.importers.crop import Rectangle
from trainables.importers.files import plural
from trainables.importers.media import SHORTEST_SECONDS, ClipAudio
from trainables.importers.parquet_writer import ShardWriter
from trainables.importers.tally import Tally
from trainables.spec.any_corpus import AnyCorpus
from trainables.spec.base import Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHOLE = "all"
"""What a remark about the corpus has in the place of a uid."""


@dataclass(frozen=True)
class RawRow:
    """An utterance before its clip is read. `folds` is None with one split; `start`, `end`: seconds of the clip."""

    uid: str
    split: str
    dialogue: str
    speaker: str
    label: str
    """With `targets` they name it, where `write_rows` is given the labels."""
    text: str
    clip: Path | None
    """None where no file is named."""
    turn: int = 0
    folds: Sequence[str] | None = None
    start: float = 0.0
    end: float | None = None
    alignment: Alignment | None = None
    votes: Sequence[float] | None = None
    status: Status = "ok"
    """What its annotations say against it; a fault of its clip is graver."""
    reason: str = ""
    """What was to be said of the row before its clip was read."""
    targets: Sequence[float] | None = None
    """0 or 1 per label, where a row may have several."""
    video: Path | None = None
    """Where the pictures are; None: in the clip."""
    vectors: Mapping[Modality, NDArray[np.float32]] | None = None
    """float32 [time, width] each, of a corpus of vectors; there is nothing to decode then."""
    box: Rectangle | None = None
    """What is to be seen of the pictures, with `visual.crop: corpus`."""


def write_rows(
    rows: Sequence[RawRow],
    spec: AnyCorpus,
    out: Path,
    workers: int,
    progress: Progress,
    *,
    labels: Sequence[str] = (),
    remarks: Iterable[str] = (),
    root: Path | None = None,
) -> Prepared:
    """Write the shards in the order of `rows`; `remarks` are of the whole corpus, `labels` those of `targets`.

    Given the corpus's `root`, what is to be done about Git-LFS stubs is remarked too; it is a CorpusError where all
    files are.
    """
    problems: list[Problem] = []
    said: list[Problem] = []
    beyond: list[tuple[int, int]] = []
    tally = Tally()
    aligned = spec.alignment.type == "corpus"
    with ShardWriter(out) as shards:
        jobs = [Job(row.clip, row.video or row.clip, row.start, row.end, box=row.box) for row in rows]
        clips = read_all(jobs, spec, workers)
        for done, (raw, job, clip) in enumerate(zip(rows, jobs, clips, strict=True), start=1):
            tiers, lost = _tiers(raw.alignment if aligned else None, clip.audio)
            others = (_early(raw, clip.audio), raw.reason)
            row = _row(raw, clip, labels, together(clip.reason, *others)) | tiers
            shards.add(row)
            tally.add(raw.uid, job, clip)
            beyond += [lost] if lost[0] else []
            if remark := together(clip.remark, *others):
                found = Problem(raw.uid, row["status"], remark, "" if raw.folds else raw.split)
                (said if row["status"] == "ok" else problems).append(found)
            progress(done, len(rows))
    tally.check(root)
    whole = [Problem(WHOLE, "ok", remark) for remark in (*remarks, *_cut(beyond), *tally.remarks(root))]
    return Prepared(_counts(rows), tuple(problems), {"remarks": [vars(remark) for remark in (*whole, *said)]})


def _counts(rows: Sequence[RawRow]) -> dict[str, int]:
    if rows and rows[0].folds:
        return {WHOLE: len(rows)}
    return {split: sum(row.split == split for row in rows) for split in SPLITS}


def _cut(beyond: Sequence[tuple[int, int]]) -> Iterator[str]:
    if beyond:
        lost, of = (sum(counts) for counts in zip(*beyond, strict=True))
        yield (
            f"the alignments of {plural(len(beyond), 'row', 'rows')} run past the end of their audio: {lost} of "
            f"their {of} segments left out"
        )


def _row(raw: RawRow, clip: Clip, labels: Sequence[str], reason: str) -> dict[str, Any]:
    return {
        "uid": raw.uid,
        "split": raw.split,
        "dialogue": raw.dialogue,
        "turn": raw.turn,
        "speaker": raw.speaker,
        "label": joined(raw.targets, labels) if raw.targets is not None and labels else raw.label,
        "text": raw.text,
        "text_hash": text_hash(raw.text),
        "seconds": clip.audio.seconds,
        "raw_seconds": clip.audio.raw_seconds,
        "audio": clip.audio.audio,
        "images": clip.images.images,
        "votes": raw.votes,
        "targets": raw.targets,
        "folds": raw.folds,
        "status": raw.status if clip.status == "ok" else clip.status,
        "reason": reason,
        **{f"{modality}_vectors": values.reshape(-1) for modality, values in (raw.vectors or {}).items()},
    }


def _early(raw: RawRow, clip: ClipAudio) -> str:
    """What is to be said of a file that ends before the part that the row asks for."""
    missing = (raw.end or 0.0) - raw.start - clip.raw_seconds
    return f"the file ends {missing:.2f} s before its end" if clip.audio and missing > SHORTEST_SECONDS else ""


def _tiers(alignment: Alignment | None, clip: ClipAudio) -> tuple[dict[str, Any], tuple[int, int]]:
    """The alignment's columns, and (segments left out, segments in all). A tier without segments is null."""
    if alignment is None or clip.audio is None:
        return {"words": None, "phones": None, "syllables": None, "aligned": None}, (0, 0)
    limit = min(clip.seconds, clip.raw_seconds)
    tiers = {"words": alignment.words, "phones": alignment.phones, "syllables": alignment.syllables}
    kept = {name: _within(segments, limit) for name, segments in tiers.items()}
    of = sum(map(len, tiers.values()))
    columns = {name: segments if tiers[name] else None for name, segments in kept.items()}
    return columns | {"aligned": alignment.source}, (of - sum(map(len, kept.values())), of)


def _within(segments: Sequence[Segment], limit: float) -> list[dict[str, Any]]:
    return [{"label": s.label, "start": s.start, "end": min(s.end, limit)} for s in segments if s.start < limit]
