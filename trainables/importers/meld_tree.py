"""A tree of MELD's shape into shards: the part that MELD and corpora written in its layout share.

No row is dropped. A row's `status` is its gravest finding (unreadable audio, then a length mended, then an empty
interval in the CSV file, then a copy in another split) and its `reason` says all of them. Copies within a split and
digital silence are worth a reason only: the row stays `ok` and is listed among the `remarks`. What `Tally` says
once of all clips is in the rows' reasons too, but not listed row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trainables.alignment.base import Alignment, Segment
from trainables.corpus import SPLITS, Status, text_hash
from trainables.importers.base import Prepared, Problem, Progress
from trainables.importers.clips import Clip, Job, read_all, together
from trainables.importers.meld_layout import Layout
from trainables.importers.meld_rows import Utterance, copies, read_utterances
from trainables.importers.parquet_writer import ShardWriter
from trainables.importers.rows import WHOLE
from trainables.importers.tally import Tally
from trainables.spec import EMOTIONS, MeldSpec, StandInSpec


def import_tree(
    layout: Layout,
    spec: MeldSpec | StandInSpec,
    out: Path,
    workers: int,
    progress: Progress,
    *,
    alignments: Mapping[str, Alignment] | None = None,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Prepared:
    """Write the shards of a layout into `out`; `alignments` go by uid, in seconds from the clip's start.

    `facts`, by uid: what is known of a row beside its files; it is laid over what the files say.
    """
    utterances = [u for split in SPLITS for u in read_utterances(layout.csvs[split], split, EMOTIONS)]
    twins = copies(utterances)
    problems: list[Problem] = []
    remarks: list[Problem] = []
    tally = Tally()
    with ShardWriter(out) as shards:
        jobs = list(_jobs(utterances, layout))
        clips = read_all(jobs, spec, workers)
        for done, (utterance, job, clip) in enumerate(zip(utterances, jobs, clips, strict=True), start=1):
            findings = list(_findings(utterance, clip, twins.get(utterance.uid, [])))
            row = _row(utterance, clip, findings, (alignments or {}).get(utterance.uid))
            row |= (facts or {}).get(utterance.uid, {})
            shards.add(row)
            tally.add(row["uid"], job, clip)
            if remark := together(clip.remark, *(reason for _, reason in findings)):
                kind = remarks if row["status"] == "ok" else problems
                kind.append(Problem(row["uid"], row["status"], remark))
            progress(done, len(utterances))
    tally.check(layout.root)
    remarks[:0] = [Problem(WHOLE, "ok", remark) for remark in tally.remarks(layout.root)]
    rows = {split: sum(u.split == split for u in utterances) for split in SPLITS}
    return Prepared(rows, tuple(problems), _info(layout, utterances, remarks))


def _jobs(utterances: Sequence[Utterance], layout: Layout) -> Iterator[Job]:
    for utterance in utterances:
        clip = layout.clips.get(utterance.split, {}).get(utterance.clip)
        path = clip.path if clip else None
        yield Job(path, path, absent="there is no clip of this name")


def _row(
    utterance: Utterance, clip: Clip, findings: Sequence[tuple[Status, str]], alignment: Alignment | None
) -> dict[str, Any]:
    statuses = (clip.status, *(status for status, _ in findings))
    within = partial(_within, seconds=clip.audio.seconds)
    return {
        "uid": utterance.uid,
        "split": utterance.split,
        "dialogue": utterance.dialogue,
        "turn": utterance.utterance_id,
        "speaker": utterance.speaker,
        "label": utterance.label,
        "text": utterance.text,
        "text_hash": text_hash(utterance.text),
        "seconds": clip.audio.seconds,
        "raw_seconds": clip.audio.raw_seconds,
        "audio": clip.audio.audio,
        "images": clip.images.images,
        "words": within(alignment.words) if alignment else None,
        "phones": within(alignment.phones) if alignment else None,
        "aligned": alignment.source if alignment and alignment.words else None,
        "status": next((status for status in statuses if status != "ok"), "ok"),
        "reason": together(clip.reason, *(reason for _, reason in findings)),
    }


def _findings(utterance: Utterance, clip: Clip, twins: Sequence[Utterance]) -> Iterator[tuple[Status, str]]:
    """What the CSV files say against the row, gravest first."""
    if utterance.empty_interval and clip != Clip():
        yield "zero_interval", "its StartTime is not before its EndTime in the CSV file"
    for twin in sorted(twins, key=lambda twin: twin.split == utterance.split):
        status: Status = "ok" if twin.split == utterance.split else "duplicate"
        label = "" if twin.label == utterance.label else f", labelled {twin.label} there"
        yield status, f"same text, episode and times as {twin.uid}{label}"


def _within(segments: Sequence[Segment], seconds: float) -> list[dict[str, Any]]:
    """The segments that start within the stored audio (all of them where there is none)."""
    limit = seconds or float("inf")
    return [{"label": s.label, "start": s.start, "end": min(s.end, limit)} for s in segments if s.start < limit]


def _info(layout: Layout, utterances: Sequence[Utterance], remarks: Sequence[Problem]) -> dict[str, Any]:
    labelled = {(u.split, u.clip) for u in utterances}
    extra = [
        f"{split}-dia{key[0]}-utt{key[1]}"
        for split in SPLITS
        for key in sorted(layout.clips.get(split, {}))
        if (split, key) not in labelled
    ]
    info: dict[str, Any] = {"extra_clips": extra, "remarks": [vars(remark) for remark in remarks]}
    return info | {"expected": {}} if layout.dyadic else info
