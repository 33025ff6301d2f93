"""The Arrow schema of an utterance, and reading and writing a corpus of them.

A corpus is the artifact `corpora/<fingerprint>/` with `utterances-NNNNN.parquet` shards in the order
(split, dialogue, turn). Audio is FLAC, 16 kHz, mono. Every raw row has its row here, whatever its `status`.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from trainables.errors import CorpusError
from trainables.storage import Storage

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1
SAMPLE_RATE = 16_000
SPLITS = ("train", "dev", "test")

Status = Literal[
    "ok", "missing_media", "decode_error", "no_audio", "too_short", "too_long", "zero_interval", "duplicate"
]
USABLE_AUDIO = frozenset({"ok", "too_short", "too_long", "zero_interval", "duplicate"})
"""Statuses whose `audio` is there (padded or cropped where need be)."""


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
            pa.field("words", pa.list_(segment)),  # alignment in seconds, where the corpus has one
            pa.field("phones", pa.list_(segment)),
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
    return [i.key for i in storage.list(prefix(fingerprint)) if i.key.endswith(".parquet")]


def iter_tables(storage: Storage, fingerprint: str, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The corpus shard by shard, so that memory holds one shard's audio at a time."""
    import pyarrow.parquet as pq

    for key in shards(storage, fingerprint):
        with storage.open(key) as handle:
            yield pq.read_table(handle, columns=list(columns) if columns is not None else None)


def check_rows(rows: Sequence[dict[str, Any]], labels: Sequence[str]) -> None:
    """Raise CorpusError naming the first row that breaks the corpus's own rules."""
    seen: set[str] = set()
    home: dict[str, str] = {}
    for row in rows:
        uid = row["uid"]
        if uid in seen:
            raise CorpusError(f"row {uid}: the key occurs twice; keys are unique in a corpus")
        seen.add(uid)
        if row["label"] not in labels:
            raise CorpusError(f"row {uid}: unknown label {row['label']!r}; labels are {', '.join(labels)}")
        if row["split"] not in SPLITS:
            raise CorpusError(f"row {uid}: unknown split {row['split']!r}; splits are {', '.join(SPLITS)}")
        if home.setdefault(row["dialogue"], row["split"]) != row["split"]:
            raise CorpusError(
                f"row {uid}: dialogue {row['dialogue']} is in {home[row['dialogue']]} and in {row['split']}; "
                "a dialogue lies in one split"
            )
