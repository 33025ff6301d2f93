"""Rows of CMU-MOSEI from its labelled segments, and what there is to say of those that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainables.corpus import SPLITS, Status
from trainables.errors import CorpusError
from trainables.importers.files import plural, some
from trainables.importers.mosei_files import PICTURES
from trainables.importers.mosei_folds import VIDEOS, official_split
from trainables.importers.mosei_labels import NONE, TIE, Labelled, present, strongest
from trainables.importers.mosei_layout import Layout
from trainables.importers.mosei_texts import Placed, place
from trainables.importers.rows import RawRow
from trainables.spec import MoseiSpec


@dataclass(frozen=True)
class Read:
    rows: list[RawRow]
    """In the order split, video, start."""
    excluded: dict[str, int]
    unlabelled: list[str]
    """Videos with a recording and no label."""
    remarks: list[str]


def read_rows(layout: Layout, spec: MoseiSpec) -> Read:
    segments, remarks = _labels(layout)
    split = official_split()
    kept = [segment for segment in segments if segment.video in split]
    if not kept:
        found = plural(len({segment.video for segment in segments}), "labelled video", "labelled videos")
        raise CorpusError(
            f"{layout.root}: {found}, none of them in CMU-MOSEI's official split; a corpus of one's own is read by "
            "type: manifest"
        )
    rows, excluded = [], Counter[str]()
    turns = Counter[str]()
    for one in sorted(place(kept, layout), key=lambda one: SPLITS.index(split[one.segment.video])):
        label = strongest(one.segment.scores) if spec.task == "one" else ""
        if label in (NONE, TIE):
            excluded[label] += 1
            continue
        video = one.segment.video
        rows.append(_row(one, label, layout, spec, split=split[video], turn=turns[video]))
        turns[video] += 1
    if "text" in spec.modalities and rows and not any(row.text for row in rows):
        files = plural(len(layout.transcripts), "text file", "text files")
        raise CorpusError(
            f"{layout.root}: neither {files} nor words in time say what is said in any labelled segment; "
            'modalities ["audio"] needs no words'
        )
    videos = {segment.video for segment in segments}
    said = [*remarks, *_videos(kept, segments), *_values(kept), *_sound(rows, spec), *layout.remarks()]
    return Read(rows, dict(excluded.most_common()), sorted(layout.videos - videos), said)


def _labels(layout: Layout) -> tuple[list[Labelled], list[str]]:
    if layout.labels:
        from trainables.importers.mosei_csd import read_labels

        return read_labels(layout.labels), []
    from trainables.importers.mosei_ratings import read_ratings

    segments, unanswered = read_ratings(layout.ratings)
    told = f"{plural(unanswered, 'row', 'rows')} of the CSV files lack an answer and do not count"
    return segments, [told] if unanswered else []


def _row(one: Placed, label: str, layout: Layout, spec: MoseiSpec, *, split: str, turn: int) -> RawRow:
    segment, video = one.segment, one.segment.video
    media = layout.media(video, one.clip, spec.modalities)
    start, end, status, reasons = _part(one, media.whole, spec)
    unknown = media.whole and one.times is None
    sound, pictures = (
        None if unknown else path or layout.root / f"{video}{suffix}"
        for path, suffix in ((media.sound, ".wav"), (media.pictures, ".mp4"))
    )
    if "text" in spec.modalities and not one.text:
        reasons.append("neither its transcript nor the words in time say what is said")
    return RawRow(
        uid=segment.uid,
        split=split,
        dialogue=video,
        speaker=video,  # the corpus names nobody
        label=label,
        text=one.text,
        clip=sound,
        turn=turn,
        start=start,
        end=end,
        status=status,
        reason="; ".join(reasons),
        targets=present(segment.scores) if spec.task == "several" else None,
        video=pictures if "visual" in spec.modalities else None,
    )


def _part(one: Placed, whole: bool, spec: MoseiSpec) -> tuple[float, float | None, Status, list[str]]:
    """What of the file is the segment, and what is to be said against its times; nothing without media."""
    if not {"audio", "visual"} & set(spec.modalities):
        return 0.0, None, "ok", []
    if one.times is None:
        told = "neither labels nor transcript say when it is"
        return 0.0, None, "ok", [told] if whole else []
    start, end = one.times
    status: Status = "ok"
    reasons = []
    if one.times.empty:
        status, end = "zero_interval", start + spec.min_seconds
        read = f"; the {spec.min_seconds:g} s from there are read" if whole else ""
        reasons = [f"its end is not after its start at {start:.2f} s{read}"]
    return (start, end, status, reasons) if whole else (0.0, None, status, reasons)


def _videos(kept: Sequence[Labelled], segments: Sequence[Labelled]) -> Iterator[str]:
    """Videos per split beside the official number, and those of no split."""
    split = official_split()
    found = Counter(split[video] for video in {segment.video for segment in kept})
    told = ", ".join(f"{name} {found[name]} of {VIDEOS[name]}" for name in SPLITS)
    yield f"labelled videos of the official split: {told}"
    outside = [segment.video for segment in segments if segment.video not in split]
    if outside:
        videos = sorted(set(outside))
        yield (
            f"{plural(len(videos), 'labelled video', 'labelled videos')} with "
            f"{plural(len(outside), 'segment', 'segments')} left out, as the official split has no place for "
            f"{'it' if len(videos) == 1 else 'them'}: {some(videos)}"
        )


def _values(kept: Sequence[Labelled]) -> Iterator[str]:
    before = sum(segment.start is not None and segment.start < 0 for segment in kept)
    if before:
        told = plural(before, "segment begins before the recording and is", "segments begin before it and are")
        yield f"{told} taken from 0 s"
    beyond = [segment.uid for segment in kept if segment.beyond]
    if beyond:
        yield (
            f"{plural(len(beyond), 'segment has', 'segments have')} a rating outside 0 to 3, which changes neither "
            f"what is there nor what is strongest: {some(beyond)}"
        )


def _sound(rows: Sequence[RawRow], spec: MoseiSpec) -> Iterator[str]:
    if "audio" not in spec.modalities:
        return
    others = sorted({row.dialogue for row in rows if row.clip and row.clip.suffix.lower() in PICTURES})
    if others:
        yield f"the sound of {plural(len(others), 'video', 'videos')} is that of the video file: {some(others)}"
