"""A tree of IEMOCAP's shape into shards, sorted by dialogue and time.

No utterance whose label is in use is dropped. Its `status` is its gravest finding (unreadable audio, then a length
mended, then an empty interval in EmoEvaluation) and its `reason` says all of them. A line that the transcript lacks
and a forced alignment that cannot be read are worth a reason only: the row stays `ok`, with an empty text or
without an alignment, and is listed among the `remarks`. Alignments that are not there are only counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.alignment.base import Alignment, Segment
from trainables.corpus import Status, text_hash
from trainables.importers.base import Prepared, Problem, Progress
from trainables.importers.iemocap_alignment import KINDS, read_alignment
from trainables.importers.iemocap_labels import classes, population
from trainables.importers.iemocap_layout import Layout
from trainables.importers.iemocap_rows import Utterance, folds, group, read_texts
from trainables.importers.media import ClipAudio, read_clip
from trainables.importers.parquet_writer import ShardWriter
from trainables.importers.pool import in_order
from trainables.spec import IemocapSpec

SPEAKER_DISJOINT = {"session": ["test"], "speaker": ["train", "dev", "test"]}
"""By protocol: dev is drawn from the dialogues of the training speakers, or it is a speaker of its own."""


@dataclass(frozen=True)
class _Job:
    """What a worker needs of one utterance; `wav` is None where there is none."""

    wav: Path | None
    aligned: Mapping[str, Path]
    min_seconds: float
    max_seconds: float


@dataclass(frozen=True)
class _Heard:
    """The files of one utterance as read; `fault` is why an alignment that is there could not be."""

    clip: ClipAudio
    alignment: Alignment | None = None
    fault: str = ""


def import_tree(layout: Layout, spec: IemocapSpec, out: Path, workers: int, progress: Progress) -> Prepared:
    """Write the shards of a layout into `out`."""
    texts = read_texts(layout, spec)
    utterances = sorted(texts.utterances, key=lambda u: (group(u, spec), u.number))
    splits = folds(utterances, spec)
    problems: list[Problem] = []
    remarks: list[Problem] = []
    unaligned = 0
    with ShardWriter(out) as shards:
        heard = _heard(utterances, layout, spec, workers)
        for done, (utterance, split, found) in enumerate(zip(utterances, splits, heard, strict=True), start=1):
            row = _row(utterance, split, found, group(utterance, spec))
            shards.add(row)
            unaligned += row["aligned"] is None
            if row["reason"]:
                kind = remarks if row["status"] == "ok" else problems
                kind.append(Problem(row["uid"], row["status"], row["reason"]))
            progress(done, len(utterances))
    wavs = {uid for session in layout.sessions for uid in session.wavs}
    official = population(spec)
    info = {
        "labels": list(classes(spec).labels),
        "expected": {} if official is None else {"all": official},
        "excluded": texts.excluded,
        "speaker_disjoint": SPEAKER_DISJOINT[spec.protocol],
        "remarks": [vars(remark) for remark in remarks],
        "extra_clips": sorted(wavs - texts.turns),
        "unaligned": unaligned,
        "unrated": sum(utterance.votes is None for utterance in utterances),
    }
    return Prepared({"all": len(utterances)}, tuple(problems), info)


def _heard(utterances: Sequence[Utterance], layout: Layout, spec: IemocapSpec, workers: int) -> Iterator[_Heard]:
    if "audio" not in spec.modalities:
        return iter([_Heard(ClipAudio(None, 0.0, 0.0, "ok"))] * len(utterances))
    sessions = {session.number: session for session in layout.sessions}
    own = spec.alignment.type == "corpus"

    def job(uid: str, number: str) -> _Job:
        session = sessions[number]
        wav = session.wavs.get(uid)
        aligned = {kind: session.alignments[uid, kind].path for kind in KINDS if (uid, kind) in session.alignments}
        return _Job(wav.path if wav else None, aligned if own else {}, spec.min_seconds, spec.max_seconds)

    return in_order(_read, (job(u.turn.uid, u.turn.session) for u in utterances), workers, _crashed)


def _read(job: _Job) -> _Heard:
    if job.wav is None:
        return _Heard(ClipAudio(None, 0.0, 0.0, "missing_media", "there is no wav of this name"))
    clip = read_clip(job.wav, job.min_seconds, job.max_seconds)
    try:
        return _Heard(clip, read_alignment(job.aligned))
    except (OSError, ValueError) as error:
        return _Heard(clip, fault=f"forced alignment left out: {error}")


def _crashed(job: _Job) -> _Heard:
    return _Heard(ClipAudio(None, 0.0, 0.0, "decode_error", "the decoder's process died on this wav"))


def _row(utterance: Utterance, splits: list[str], heard: _Heard, dialogue: str) -> dict[str, Any]:
    turn, clip = utterance.turn, heard.clip
    findings = [(clip.status, clip.reason), *_findings(utterance, heard)]
    text = utterance.text or ""
    alignment = heard.alignment if clip.audio else None
    return {
        "uid": turn.uid,
        "split": splits[0],
        "dialogue": dialogue,
        "turn": utterance.number,
        "speaker": turn.speaker,
        "label": utterance.label,
        "text": text,
        "text_hash": text_hash(text),
        "seconds": clip.seconds,
        "raw_seconds": clip.raw_seconds,
        "audio": clip.audio,
        "words": _within(alignment.words, clip.seconds) if alignment else None,
        "phones": _within(alignment.phones, clip.seconds) if alignment else None,
        "syllables": _within(alignment.syllables, clip.seconds) if alignment and alignment.syllables else None,
        "aligned": alignment.source if alignment else None,
        "votes": utterance.votes,
        "folds": splits,
        "status": next((status for status, _ in findings if status != "ok"), "ok"),
        "reason": "; ".join(reason for _, reason in findings if reason),
    }


def _findings(utterance: Utterance, heard: _Heard) -> Iterator[tuple[Status, str]]:
    """What the texts say against the row, gravest first."""
    turn = utterance.turn
    if turn.start >= turn.end and heard.clip.audio:
        yield "zero_interval", f"EmoEvaluation has it from {turn.start:g} to {turn.end:g} s"
    if utterance.text is None:
        yield "ok", "the transcript has no line of this name; its text is empty"
    if heard.fault:
        yield "ok", heard.fault


def _within(segments: Sequence[Segment], seconds: float) -> list[dict[str, Any]]:
    """The segments that start within the stored audio."""
    return [{"label": s.label, "start": s.start, "end": min(s.end, seconds)} for s in segments if s.start < seconds]
