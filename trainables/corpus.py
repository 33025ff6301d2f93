"""The Arrow schema of an utterance, and reading and writing a corpus of them.

A corpus is the artifact `corpora/<fingerprint>/` with `utterances-NNNNN.parquet` shards in the order
(split, dialogue, turn). Audio is FLAC, 16 kHz, mono. Every raw row with a label in use has its row here, whatever
its `status`.

A cross-validated corpus keeps its whole protocol in the rows: `folds` says what each row is in each fold, and
`split` repeats it for fold 0. `with_fold` turns a table into that of one fold.

Where an utterance may have several labels (the record's info `multi_label`), `targets` says which, and `label`
names them for the reader, joined by `LABELS_JOIN`, empty for none.
"""

from __future__ import annotations

import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainables.artifacts import Record, read_record, verified
from trainables.errors import ArtifactError, CorpusError
from trainables.spec.base import MODALITIES
from trainables.storage import Storage

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

SCHEMA_VERSION = 3
SAMPLE_RATE = 16_000
SPLITS = ("train", "dev", "test")

LABELS_JOIN = "+"
Status = Literal[
    "ok",
    "missing_media",
    "decode_error",
    "no_audio",
    "no_video",
    "lfs_stub",
    "too_short",
    "too_long",
    "zero_interval",
    "duplicate",
]
AlignmentSource = Literal["corpus", "synthesiser", "textgrid", "ctc", "proportional"]
"""Where words, phones and syllables come from; what is measured with `proportional` compares with nothing."""
USABLE_AUDIO = frozenset({"ok", "too_short", "too_long", "zero_interval", "duplicate"})
"""Statuses whose `audio` is there (padded or cropped where need be)."""
_REPEATED = ["split", "dialogue", "speaker", "label", "status", "reason"]


def schema() -> pa.Schema:
    """One row an utterance. `audio` is null where it could not be read; `label` is one of the record's labels."""
    import pyarrow as pa

    segment = pa.struct([("label", pa.string()), ("start", pa.float32()), ("end", pa.float32())])
    return pa.schema(
        [
            pa.field("uid", pa.string(), nullable=False),  # e.g. "train-dia12-utt3", unique in the corpus
            pa.field("split", pa.string(), nullable=False),
            pa.field("dialogue", pa.string(), nullable=False),  # unique across splits
            pa.field("turn", pa.int32(), nullable=False),
            pa.field("speaker", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("text", pa.string(), nullable=False),
            pa.field("text_hash", pa.int64(), nullable=False),  # of the normalised text
            pa.field("seconds", pa.float32(), nullable=False),  # of the stored audio; 0 without
            pa.field("raw_seconds", pa.float32(), nullable=False),  # as decoded, before crop or pad
            pa.field("audio", pa.binary()),  # FLAC
            pa.field("words", pa.list_(segment)),  # in seconds of the stored audio, null where not aligned
            pa.field("phones", pa.list_(segment)),
            pa.field("syllables", pa.list_(segment)),
            pa.field("aligned", pa.string()),  # the source of the three: an `AlignmentSource`, or null
            pa.field("votes", pa.list_(pa.float32())),  # share of the raters per label of the record, sums to 1
            pa.field("targets", pa.list_(pa.float32())),  # 1 or 0 per label of the record; null with one label
            pa.field("folds", pa.list_(pa.string())),  # the split in each fold; null with one official split
            pa.field("images", pa.list_(pa.binary())),  # JPEG, frame i at i / visual.rate seconds; null without
            # Of a corpus of vectors, time step by time step end to end; widths are in the record's info `widths`.
            *(pa.field(f"{modality}_vectors", pa.list_(pa.float32())) for modality in MODALITIES),
            pa.field("status", pa.string(), nullable=False),
            pa.field("reason", pa.string(), nullable=False),
        ]
    )


def normalise_text(text: str) -> str:
    """Lower case, one form per character, words and digits only: what makes two texts 'the same'."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return " ".join(re.findall(r"[\w']+", folded))


def text_hash(text: str) -> int:
    """A signed 64-bit hash of the normalised text, equal on every machine."""
    digest = hashlib.blake2b(normalise_text(text).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def prefix(fingerprint: str) -> str:
    return f"corpora/{fingerprint}"


def read_table(storage: Storage, fingerprint: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The whole corpus, or some columns of it (leave out `audio` unless it is needed)."""
    import pyarrow as pa

    batches = list(iter_tables(storage, fingerprint, columns))
    if not batches:
        raise CorpusError(f"{storage.url(prefix(fingerprint))}: the corpus has no rows")
    return pa.concat_tables(batches)


def shards(storage: Storage, fingerprint: str) -> list[str]:
    """The keys of the corpus's shards, in order."""
    return [f"{prefix(fingerprint)}/{name}" for name in _shards(_record(storage, fingerprint))]


def iter_tables(storage: Storage, fingerprint: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The corpus shard by shard, so that memory holds one shard's audio at a time.

    Every shard is checked before it is read: ArtifactError names one that is missing or damaged.
    """
    record = _record(storage, fingerprint)
    for name in _shards(record):
        yield _read(storage, record, name, columns)


def read_shard(storage: Storage, fingerprint: str, index: int) -> pa.Table:
    """The shard of that place in `shards`, checked as by `iter_tables`."""
    record = _record(storage, fingerprint)
    return _read(storage, record, _shards(record)[index], None)


def _record(storage: Storage, fingerprint: str) -> Record:
    record = read_record(storage, prefix(fingerprint))
    if record is None:
        raise ArtifactError(f"{storage.url(prefix(fingerprint))}: no such corpus; prepare it first")
    return record


def _shards(record: Record) -> list[str]:
    return sorted(name for name in record.files if name.endswith(".parquet"))


def _read(storage: Storage, record: Record, name: str, columns: Sequence[str] | None) -> pa.Table:
    import pyarrow.parquet as pq

    shard = verified(storage, prefix(record.fingerprint), name, record.files)
    with shard as path, path.open("rb") as handle:
        return pq.read_table(handle, columns=list(columns) if columns is not None else None)


def write_shard(table: pa.Table, path: Path) -> None:
    """One shard; the same rows give the same bytes."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd", use_dictionary=_REPEATED)


def with_fold(table: pa.Table, fold: int | None) -> pa.Table:
    """The table with `split` as it is in `fold`; as it stands for None. It must have the column `folds`, else."""
    if fold is None:
        return table
    import pyarrow as pa

    splits = []
    for uid, folds in zip(table["uid"].to_pylist(), table["folds"].to_pylist(), strict=True):
        if not folds or fold >= len(folds):
            raise CorpusError(f"row {uid}: fold {fold} asked for, and it has {len(folds or ())} folds")
        splits.append(folds[fold])
    return table.set_column(table.schema.get_field_index("split"), "split", pa.array(splits, pa.string()))


def decoded(flac: bytes) -> NDArray[np.float32]:
    """The samples of a row's `audio`, [time] in -1 to 1."""
    import soundfile

    samples: NDArray[np.float32] = soundfile.read(io.BytesIO(flac), dtype="float32")[0]
    return samples


def train_texts(storage: Storage, fingerprint: str, fold: int | None) -> list[str]:
    """The texts of the train rows, in order."""
    table = with_fold(read_table(storage, fingerprint, ["uid", "folds", "split", "text"]), fold)
    rows = zip(table["split"].to_pylist(), table["text"].to_pylist(), strict=True)
    return [text for split, text in rows if split == "train"]


def joined(targets: Sequence[float], labels: Sequence[str]) -> str:
    """The column `label` of a row with several labels."""
    return LABELS_JOIN.join(label for label, target in zip(labels, targets, strict=True) if target)


def check_rows(
    rows: Sequence[dict[str, Any]],
    labels: Sequence[str],
    speaker_disjoint: Sequence[str] = (),
    *,
    multi_label: bool = False,
) -> None:
    """Raise CorpusError naming the first row that breaks the corpus's own rules, in any of its folds.

    Keys are unique, labels known and as `targets` has them, a dialogue lies in one split; the speakers of each
    split of `speaker_disjoint` speak in no other.
    """
    _check_keys(rows, labels, multi_label)
    counts = {len(row.get("folds") or ()) for row in rows}
    if len(counts) > 1:
        raise CorpusError(f"rows differ in their number of folds: {sorted(counts)}")
    for fold in range(max(counts, default=0)) or (None,):
        splits = [row["split"] if fold is None else row["folds"][fold] for row in rows]
        _check_split(rows, splits, "" if fold is None else f" of fold {fold}", speaker_disjoint)


def _check_keys(rows: Sequence[dict[str, Any]], labels: Sequence[str], multi_label: bool) -> None:
    seen: set[str] = set()
    for row in rows:
        uid = row["uid"]
        if uid in seen:
            raise CorpusError(f"row {uid}: the key occurs twice; keys are unique in a corpus")
        seen.add(uid)
        if multi_label:
            _check_targets(row, labels)
        elif row["label"] not in labels:
            raise CorpusError(f"row {uid}: unknown label {row['label']!r}; labels are {', '.join(labels)}")


def _check_targets(row: dict[str, Any], labels: Sequence[str]) -> None:
    targets = row.get("targets")
    if targets is None or len(targets) != len(labels) or not set(targets) <= {0.0, 1.0}:
        raise CorpusError(
            f"row {row['uid']}: targets {targets}; one of 0 or 1 is wanted for each of {', '.join(labels)}"
        )
    if row["label"] != joined(targets, labels):
        raise CorpusError(f"row {row['uid']}: label {row['label']!r} and targets {targets} do not agree")


def _check_split(
    rows: Sequence[dict[str, Any]], splits: Sequence[str], where: str, speaker_disjoint: Sequence[str]
) -> None:
    home: dict[str, str] = {}
    speakers: dict[str, set[str]] = {split: set() for split in SPLITS}
    for row, split in zip(rows, splits, strict=True):
        uid = row["uid"]
        if split not in SPLITS:
            raise CorpusError(f"row {uid}: unknown split {split!r}{where}; splits are {', '.join(SPLITS)}")
        if home.setdefault(row["dialogue"], split) != split:
            raise CorpusError(
                f"row {uid}: dialogue {row['dialogue']} is in {home[row['dialogue']]} and in {split}{where}; "
                "a dialogue lies in one split"
            )
        speakers[split].add(row.get("speaker", ""))
    for split in speaker_disjoint:
        for other in SPLITS:
            both = speakers[split] & speakers[other] if other != split else set()
            if both:
                raise CorpusError(
                    f"speaker {min(both)} speaks in {split} and in {other}{where}; {split} is by speaker"
                )
