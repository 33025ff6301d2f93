"""A tree of IEMOCAP's shape into shards, sorted by dialogue and time.

No utterance whose label is in use is dropped. A line that the transcript lacks, an empty interval in EmoEvaluation
and a forced alignment that cannot be read are worth a remark: the sentence has a wav of its own, so the row stays
`ok`, with an empty text or without an alignment. Rows without an alignment or without votes are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from trainables.alignment.base import Alignment
from trainables.importers.base import Prepared, Progress
from trainables.importers.iemocap_alignment import KINDS, read_alignment
from trainables.importers.iemocap_labels import classes, population
from trainables.importers.iemocap_layout import WAVS, Layout, Session
from trainables.importers.iemocap_rows import Utterance, folds, group, read_texts
from trainables.importers.rows import RawRow, write_rows
from trainables.spec import IemocapSpec

SPEAKER_DISJOINT = {"session": ["test"], "speaker": ["train", "dev", "test"]}
"""By protocol: dev is drawn from the dialogues of the training speakers, or it is a speaker of its own."""


def import_tree(
    layout: Layout, spec: IemocapSpec, out: Path, workers: int, progress: Progress, *, root: Path | None
) -> Prepared:
    """Write the shards of a layout into `out`; the layout is of what lies at `root`."""
    texts = read_texts(layout, spec)
    utterances = sorted(texts.utterances, key=lambda u: (group(u, spec), u.number))
    splits = folds(utterances, spec)
    sessions = {session.number: session for session in layout.sessions}
    rows = [
        _row(utterance, split, sessions[utterance.turn.session], spec)
        for utterance, split in zip(utterances, splits, strict=True)
    ]
    unrated = sum(row.votes is None for row in rows)
    remarks = _remarks(unrated, len(rows))
    written = write_rows(rows, spec, out, workers, progress, remarks=remarks, root=root)
    wavs = {uid for session in layout.sessions for uid in session.wavs}
    official = population(spec)
    info = written.info | {
        "labels": list(classes(spec).labels),
        "expected": {} if official is None else {"all": official},
        "excluded": texts.excluded,
        "speaker_disjoint": SPEAKER_DISJOINT[spec.protocol],
        "extra_clips": sorted(wavs - texts.turns),
        "unaligned": sum(row.alignment is None for row in rows),
        "unrated": unrated,
    }
    return replace(written, info=info)


def _row(utterance: Utterance, splits: Sequence[str], session: Session, spec: IemocapSpec) -> RawRow:
    turn = utterance.turn
    wav = session.wavs.get(turn.uid)
    alignment, fault = _alignment(turn.uid, session) if _aligned(spec) else (None, "")
    return RawRow(
        uid=turn.uid,
        split=splits[0],
        dialogue=group(utterance, spec),
        speaker=turn.speaker,
        label=utterance.label,
        text=utterance.text or "",
        clip=wav.path if wav else session.folder / WAVS / turn.dialogue / f"{turn.uid}.wav",
        turn=utterance.number,
        folds=splits,
        alignment=alignment,
        votes=utterance.votes,
        reason="; ".join([*_findings(utterance), *([fault] if fault else [])]),
    )


def _aligned(spec: IemocapSpec) -> bool:
    """Whether the corpus's own alignments are wanted; without audio there is nothing that they are of."""
    return spec.alignment.type == "corpus" and "audio" in spec.modalities


def _alignment(uid: str, session: Session) -> tuple[Alignment | None, str]:
    """None where there is none, or where it cannot be read, with the reason."""
    paths = {kind: session.alignments[uid, kind].path for kind in KINDS if (uid, kind) in session.alignments}
    try:
        return read_alignment(paths), ""
    except (OSError, ValueError) as error:
        return None, f"forced alignment left out: {error}"


def _findings(utterance: Utterance) -> Iterator[str]:
    turn = utterance.turn
    if turn.start >= turn.end:
        yield f"EmoEvaluation has it from {turn.start:g} to {turn.end:g} s"
    if utterance.text is None:
        yield "the transcript has no line of this name; its text is empty"


def _remarks(unrated: int, rows: int) -> Iterator[str]:
    if unrated:
        yield f"{unrated} of {rows} rows have no rater's vote for a class in use: their `votes` are null"
