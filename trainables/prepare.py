"""The prepare stage: raw corpus -> the artifact `corpora/<fingerprint>/`, skipped when it is there already."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainables.alignment import sources
from trainables.alignment.step import align_shards, uids_of
from trainables.artifacts import Record, fingerprint, publish, read_record
from trainables.corpus import SCHEMA_VERSION, SPLITS, check_rows, prefix
from trainables.errors import CorpusError
from trainables.importers import IMPORTERS, faces
from trainables.importers.base import Prepared, Problem, Progress
from trainables.spec import CorpusSpec
from trainables.storage import Storage


@dataclass(frozen=True)
class SplitCount:
    """`expected` is None where the corpus has no official count; `faulty` counts the rows that are not `ok`."""

    split: str
    rows: int
    expected: int | None
    faulty: int


@dataclass(frozen=True)
class PrepareSummary:
    """What `orch prepare` prints: counts against the official ones, and every row that is not `ok`."""

    counts: tuple[SplitCount, ...]
    statuses: dict[str, int]
    """Rows per status other than `ok`, most frequent first."""
    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...]
    """Rows that are `ok` but about which there is something to say."""
    extra_clips: tuple[str, ...]
    """Clips without a row; they are not in the corpus."""
    stand_in: bool
    excluded: dict[str, int] = field(default_factory=dict)
    """Raw rows that are left out, by their own label."""
    folds: tuple[dict[str, int], ...] = ()
    """Rows per split in each fold; empty with one official split."""
    aligned: dict[str, int] = field(default_factory=dict)
    """Rows by the source of their words, phones and syllables; `none` for those without."""
    comparable: bool = True
    """Whether what is measured with those segments compares with other people's."""

    @property
    def complete(self) -> bool:
        """Whether every row is `ok` and every count the official one."""
        return not self.problems and all(c.expected in (None, c.rows) for c in self.counts)


def corpus_fingerprint(spec: CorpusSpec, root: Path | None, alignments: Path | None = None) -> str:
    """Of the spec, of what lies at `root` and of the TextGrids or the model that align it, wherever they are.

    Loads no heavy package. Raises CorpusError where `root` is not the corpus that the spec names.
    """
    source = IMPORTERS[spec.type].source_digest(spec, root)
    content = spec.model_dump(mode="json") | {"alignment": sources.identity(spec.alignment, alignments)}
    return fingerprint("corpus", SCHEMA_VERSION, content, {"source": source})


def prepare(
    storage: Storage,
    spec: CorpusSpec,
    root: Path | None,
    workers: int,
    progress: Progress,
    *,
    alignments: Path | None = None,
) -> Record:
    """The record of the prepared corpus; made first unless it is there. `workers` does not bear on its bytes.

    `alignments` is the folder of TextGrids, read where the spec's alignment is `textgrid`. With several workers a
    script calls it below `if __name__ == "__main__"`: its processes import the script, and would wait for it.
    """
    started = time.monotonic()
    identity = corpus_fingerprint(spec, root, alignments)
    found = read_record(storage, prefix(identity))
    if found:
        return found
    if "visual" in spec.modalities and spec.visual.crop == "face":
        faces.require()
    with _workplace(identity) as folder:
        found = read_record(storage, prefix(identity))
        if found:  # made while this process waited for its turn
            return found
        imported, aligned = halves(progress) if spec.alignment.type != "corpus" else (progress, ignored)
        prepared = IMPORTERS[spec.type].prepare(spec, root, folder, workers, imported)
        info = _info(spec, prepared)
        _align(folder, spec, info, alignments, aligned)
        info["folds"] = _check(folder, prepared, info)
        record = Record(
            kind="corpus",
            fingerprint=identity,
            spec=spec.model_dump(mode="json"),
            rows=prepared.rows,
            info=info,
            created=datetime.now(UTC),
            seconds=time.monotonic() - started,
        )
        return _publish(storage, folder, record)


def problem_table(record: Record) -> PrepareSummary:
    """The record of a corpus as what a user is shown of it."""
    problems = _problems(record.info["problems"])
    faulty = Counter(problem.split or _split(problem.uid) for problem in problems)
    expected = record.info["expected"]
    folded = "all" in record.rows
    splits = ("all",) if folded else SPLITS
    faults = Counter({"all": len(problems)}) if folded else faulty
    counts = (SplitCount(s, record.rows.get(s, 0), expected.get(s), faults[s]) for s in splits)
    return PrepareSummary(
        counts=tuple(counts),
        statuses=dict(Counter(problem.status for problem in problems).most_common()),
        problems=problems,
        remarks=_problems(record.info["remarks"]),
        extra_clips=tuple(record.info["extra_clips"]),
        stand_in=record.info["stand_in"],
        excluded=record.info["excluded"],
        folds=tuple(record.info["folds"]),
        aligned=record.info["alignment"]["source"],
        comparable=record.info["alignment"]["comparable"],
    )


def halves(progress: Progress) -> tuple[Progress, Progress]:
    """Reports of two passes over the same rows as those of one."""

    def first(done: int, total: int) -> None:
        progress(done // 2, total)

    def second(done: int, total: int) -> None:
        progress((total + done) // 2, total)

    return first, second


def ignored(done: int, total: int) -> None:
    """Of a pass that takes no time."""


@contextmanager
def _workplace(identity: str) -> Iterator[Path]:
    """A local folder for this corpus, for one process at a time; what a killed one left there is removed."""
    folder = Path(tempfile.gettempdir()) / f"orch-prepare-{os.getuid()}-{identity}"
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _info(spec: CorpusSpec, prepared: Prepared) -> dict[str, Any]:
    importer = IMPORTERS[spec.type]
    return {
        "labels": list(importer.labels),
        "expected": dict(importer.expected),
        "stand_in": importer.stand_in,
        "problems": [vars(problem) for problem in prepared.problems],
        "remarks": [],
        "extra_clips": [],
        "ceilings": None,
        "excluded": {},
        "speaker_disjoint": [],
        "multi_label": spec.multi_label,
        "widths": {},
    } | prepared.info


def _check(folder: Path, prepared: Prepared, info: dict[str, Any]) -> list[dict[str, int]]:
    """The corpus's own rules over all shards: unique keys, known labels, disjoint splits in every fold, counts.

    Returns the rows per split in each fold.
    """
    import pyarrow.parquet as pq

    columns = ["uid", "split", "dialogue", "speaker", "label", "targets", "folds"]
    shards = sorted(folder.glob("utterances-*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard, columns=columns).to_pylist()]
    check_rows(rows, info["labels"], info["speaker_disjoint"], multi_label=info["multi_label"])
    written = Counter("all" if row["folds"] else row["split"] for row in rows)
    if any(written[split] != count for split, count in prepared.rows.items()) or not rows:
        raise CorpusError(f"the importer says {prepared.rows} rows and wrote {dict(written)}")
    counts = [Counter(splits) for splits in zip(*(row["folds"] or () for row in rows), strict=True)]
    return [{split: count[split] for split in SPLITS} for count in counts]


def _align(
    folder: Path, spec: CorpusSpec, info: dict[str, Any], alignments: Path | None, progress: Progress
) -> None:
    """Align the rows in place; how many by what, and what there is to say of a row, goes into the info.

    Vectors have no words in time to be aligned: nothing is said of theirs.
    """
    if spec.vectors:
        info["alignment"] = {"source": {}, "comparable": True}
        return
    shards = sorted(folder.glob("utterances-*.parquet"))
    language = spec.spoken_language
    source = sources.make_source(spec.alignment, alignments, uids_of(shards), language)
    found = align_shards(shards, source, language, progress)
    info["alignment"] = {"source": dict(sorted(found.sources.items())), "comparable": found.comparable}
    known = {said["uid"]: said for said in (*info["remarks"], *info["problems"])}
    for uid, remark in found.remarks.items():
        if uid in known:
            known[uid]["reason"] += f"; {remark}"
        else:
            info["remarks"].append(vars(Problem(uid, "ok", remark)))


def _publish(storage: Storage, folder: Path, record: Record) -> Record:
    place = prefix(record.fingerprint)
    found = read_record(storage, place)
    if found:  # another machine was quicker, with the same bytes
        return found
    storage.remove(place)  # shards of a writer that died; a reader lists the folder
    return publish(storage, place, folder, record)


def _problems(values: Iterable[dict[str, Any]]) -> tuple[Problem, ...]:
    return tuple(Problem(**value) for value in values)


def _split(uid: str) -> str:
    return uid.split("-", 1)[0]
