"""Aligning a corpus that an importer has written: each shard is read, its rows aligned, and written again.

`corpus` keeps what the rows have and fills in syllables where there are none. Any other source replaces what is
there, since it was asked for; a row that it cannot align has nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.alignment.base import Alignment, Segment
from trainables.alignment.sources import Clip, Source
from trainables.alignment.spelling import shared_out
from trainables.alignment.syllables import syllables
from trainables.corpus import write_shard

if TYPE_CHECKING:
    import pyarrow as pa

TIERS = ("words", "phones", "syllables")
NOT_ALIGNED = "none"
"""In the counts: the rows without words, phones and syllables."""


@dataclass
class Aligned:
    """What came of it: rows by source (`none` for those without), and remarks by uid."""

    sources: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, str] = field(default_factory=dict)

    @property
    def comparable(self) -> bool:
        """Whether what is measured with these segments compares with other people's."""
        return not self.sources["proportional"]


def uids_of(shards: Sequence[Path]) -> list[str]:
    import pyarrow.parquet as pq

    return [uid for path in shards for uid in pq.read_table(path, columns=["uid"])["uid"].to_pylist()]


def align_shards(
    shards: Sequence[Path], source: Source | None, language: str, progress: Callable[[int, int], None]
) -> Aligned:
    """Align the rows of these Parquet files in place; None is the corpus's own alignment."""
    import pyarrow.parquet as pq

    aligned, done = Aligned(), 0
    total = sum(pq.read_metadata(path).num_rows for path in shards)
    for path in shards:
        table = pq.read_table(path)
        rows = table.select(["uid", "text", "seconds", "raw_seconds", *TIERS, "aligned", "reason"]).to_pylist()
        before = [dict(row) for row in rows]
        for index, row in enumerate(rows):
            if source is None:
                _complete(row, language)
            else:
                _replace(row, source, table["audio"][index].as_py(), aligned)
            aligned.sources[row["aligned"] or NOT_ALIGNED] += 1
            done += 1
            progress(done, total)
        if rows != before:
            write_shard(_with(table, rows), path)
    return aligned


def _complete(row: dict[str, Any], language: str) -> None:
    """Syllables of the row's own phones, or of its words' spelling."""
    words, phones = _segments(row["words"]), _segments(row["phones"])
    if not (words or phones or row["syllables"]):
        row.update(dict.fromkeys((*TIERS, "aligned")))
        return
    row["aligned"] = row["aligned"] or "corpus"
    if not row["syllables"]:
        found = syllables(phones, words) if phones else shared_out(words, "corpus", language).syllables
        row["syllables"] = _values(found)


def _replace(row: dict[str, Any], source: Source, audio: bytes | None, aligned: Aligned) -> None:
    row.update(dict.fromkeys((*TIERS, "aligned")))
    if audio is None:
        return
    found, remark = source.align(Clip(row["uid"], row["text"], audio))
    if remark:
        aligned.remarks[row["uid"]] = remark
        row["reason"] = "; ".join(part for part in (row["reason"], remark) if part)
    if found is None:
        return
    whole = clipped(found, min(row["seconds"], row["raw_seconds"]))
    if whole.words or whole.phones:
        row.update({tier: _values(getattr(whole, tier)) or None for tier in TIERS}, aligned=whole.source)


def clipped(alignment: Alignment, seconds: float) -> Alignment:
    """Without what starts behind the audio's end; its last segments end there."""

    def within(segments: Iterable[Segment]) -> tuple[Segment, ...]:
        inside = (segment for segment in segments if segment.start < seconds and segment.end > 0)
        return tuple(Segment(s.label, max(s.start, 0.0), min(s.end, seconds)) for s in inside)

    tiers = {tier: within(getattr(alignment, tier)) for tier in TIERS}
    return Alignment(**tiers, source=alignment.source)


def _segments(values: Iterable[Mapping[str, Any]] | None) -> tuple[Segment, ...]:
    return tuple(Segment(value["label"], value["start"], value["end"]) for value in values or ())


def _values(segments: Iterable[Segment]) -> list[dict[str, Any]]:
    return [segment._asdict() for segment in segments]


def _with(table: pa.Table, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    for name in (*TIERS, "aligned", "reason"):
        index = table.schema.get_field_index(name)
        column = pa.array([row[name] for row in rows], table.schema.field(name).type)
        table = table.set_column(index, table.schema.field(name), column)
    return table
