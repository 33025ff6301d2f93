"""Rows of a corpus whose utterances are known before any audio is read: clips in, shards out.

A row keeps its alignment where the spec wants the corpus's own and there is audio that it is of. Segments that
start beyond the end of the audio are left out and the last one is cut: labels may be of
longer recordings than the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.alignment.base import Alignment, Segment
from trainables.corpus import SPLITS, text_hash
from trainables.importers.base import Prepared, Problem, Progress
from trainables.importers.files import plural
from trainables.importers.media import SHORTEST_SECONDS, ClipAudio, read_clip
from trainables.importers.parquet_writer import ShardWriter
from trainables.importers.pool import in_order
from trainables.spec.corpus import AnyCorpus

TEXT_ONLY = ClipAudio(None, 0.0, 0.0, "ok")
WHOLE = "all"
"""What a remark about the corpus has in the place of a uid."""


@dataclass(frozen=True)
class RawRow:
    """An utterance without its audio. `folds` is None with one split; `start` and `end` are seconds of the clip."""

    uid: str
    split: str
    dialogue: str
    speaker: str
    label: str
    text: str
    clip: Path | None
    """None where no file is named."""
    turn: int = 0
    folds: Sequence[str] | None = None
    start: float = 0.0
    end: float | None = None
    alignment: Alignment | None = None
    votes: Sequence[float] | None = None
    reason: str = ""
    """What was to be said of the row before its audio was read."""


@dataclass(frozen=True)
class _Job:
    clip: Path | None
    start: float
    end: float | None
    min_seconds: float
    max_seconds: float


def write_rows(
    rows: Sequence[RawRow],
    spec: AnyCorpus,
    out: Path,
    workers: int,
    progress: Progress,
    *,
    remarks: Iterable[str] = (),
) -> Prepared:
    """Write the shards in the order of `rows`; `remarks` are of the whole corpus."""
    problems: list[Problem] = []
    said: list[Problem] = []
    beyond: list[tuple[int, int]] = []
    aligned = spec.alignment.type == "corpus"
    with ShardWriter(out) as shards:
        audio = _audio(rows, spec, workers)
        for done, (raw, clip) in enumerate(zip(rows, audio, strict=True), start=1):
            tiers, lost = _tiers(raw.alignment if aligned else None, clip)
            row = _row(raw, clip) | tiers
            shards.add(row)
            beyond += [lost] if lost[0] else []
            if row["reason"]:
                found = Problem(raw.uid, row["status"], row["reason"], "" if raw.folds else raw.split)
                (said if row["status"] == "ok" else problems).append(found)
            progress(done, len(rows))
    whole = [Problem(WHOLE, "ok", remark) for remark in (*remarks, *_cut(beyond))]
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


def _audio(rows: Sequence[RawRow], spec: AnyCorpus, workers: int) -> Iterator[ClipAudio]:
    if "audio" not in spec.modalities:
        return iter([TEXT_ONLY] * len(rows))
    jobs = (_Job(row.clip, row.start, row.end, spec.min_seconds, spec.max_seconds) for row in rows)
    return in_order(_read, jobs, workers, _crashed)


def _read(job: _Job) -> ClipAudio:
    if job.clip is None:
        return ClipAudio(None, 0.0, 0.0, "missing_media", "its row names no file")
    if not job.clip.is_file():
        return ClipAudio(None, 0.0, 0.0, "missing_media", f"there is no file {job.clip.name}")
    return read_clip(job.clip, job.min_seconds, job.max_seconds, job.start, job.end)


def _crashed(job: _Job) -> ClipAudio:
    return ClipAudio(None, 0.0, 0.0, "decode_error", "the decoder's process died on this clip")


def _row(raw: RawRow, clip: ClipAudio) -> dict[str, Any]:
    return {
        "uid": raw.uid,
        "split": raw.split,
        "dialogue": raw.dialogue,
        "turn": raw.turn,
        "speaker": raw.speaker,
        "label": raw.label,
        "text": raw.text,
        "text_hash": text_hash(raw.text),
        "seconds": clip.seconds,
        "raw_seconds": clip.raw_seconds,
        "audio": clip.audio,
        "votes": raw.votes,
        "folds": raw.folds,
        "status": clip.status,
        "reason": "; ".join(reason for reason in (clip.reason, _early(raw, clip), raw.reason) if reason),
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
