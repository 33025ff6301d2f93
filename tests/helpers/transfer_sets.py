"""A small valid transfer set made by rule, without any teacher: for tests of what reads one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from trainables.artifacts import Record, publish
from trainables.spec import EMOTIONS
from trainables.spec.needs import GRANULARITIES
from trainables.storage import Storage
from trainables.transfer_set import TOKEN_TABLE, TransferSet, list_column, materialise, prefix, shard_name

FINGERPRINT = "0123456789abcdef"


def synthetic(
    folder: Path,
    n: int = 140,
    seed: int = 0,
    *,
    modalities: tuple[str, ...] = ("audio", "text"),
    attention: bool = False,
    frames: bool = False,
    segments: bool = False,
    votes: bool = False,
    classes: int = 7,
    mel_bands: int = 8,
    vocabulary: int = 30,
    width: int = 12,
    grid: int = 4,
    missing: int = 2,
) -> TransferSet:
    """Write, publish, materialise and open `n` utterances (60 % train, 20 % dev, 20 % test).

    The label can be read from the mean of the frames, from the tokens and from each teacher's logits, all
    with noise. The last `missing` rows of every split have no audio. `frames` adds the teachers' frame sequences,
    `segments` spans of the audio teacher's frames at every granularity (none in each split's first row), `votes`
    what three raters said (nobody was asked in each split's first row).
    """
    storage = publish_synthetic(
        Storage(str(folder / "store")), n, seed, modalities=modalities, attention=attention, frames=frames,
        segments=segments, votes=votes,
        classes=classes, mel_bands=mel_bands, vocabulary=vocabulary, width=width, grid=grid, missing=missing,
    )  # fmt: skip
    return TransferSet.open(materialise(storage, FINGERPRINT, folder / "cache"))


def publish_synthetic(storage: Storage, n: int, seed: int, **shape: Any) -> Storage:
    rng = np.random.default_rng(seed)
    counts = {"train": n - 2 * (n // 5), "dev": n // 5, "test": n // 5}
    tables = [_split(rng, split, count, **shape) for split, count in counts.items()]
    local = Path(storage.root).parent / "shards"
    local.mkdir(parents=True, exist_ok=True)
    for index, table in enumerate(tables):
        pq.write_table(table, local / shard_name(index), compression="zstd")
    modalities, classes = shape["modalities"], shape["classes"]
    if "text" in modalities:
        table_rows = rng.normal(size=(shape["vocabulary"], shape["width"])).astype(np.float32)
        save_file({"weight": table_rows}, str(local / TOKEN_TABLE))
    names = [t for t in ("audio", "text") if t in modalities] + (["fusion"] if len(modalities) == 2 else [])
    whole = pa.concat_tables(tables)
    sequences = [c for c in whole.column_names if c in ("frames", "tokens") or c.endswith((".frames", ".segments"))]
    widths = {"frames": shape["mel_bands"], "tokens": 1, **{f"{g}.segments": 2 for g in GRANULARITIES}}
    bands, vocabulary = shape["mel_bands"], shape["vocabulary"]
    info = {
        "labels": list(EMOTIONS[:classes]),
        "vocabulary_size": vocabulary if "text" in modalities else 0,
        "pad_id": 0,
        "unk_id": 1,
        "mel_bands": bands,
        "mel_mean": [0.0] * bands,
        "mel_std": [1.0] * bands,
        "dims": {t: shape["width"] * (1 + (t == "fusion")) for t in names},
        "grid": shape["grid"],
        "counts": counts,
        "stand_in": True,
        "segments": list(GRANULARITIES) if shape["segments"] else [],
        "lengths": {
            c: len(whole.column(c).combine_chunks().flatten()) // widths.get(c, shape["width"]) for c in sequences
        },
    }
    record = Record(kind="transfer_set", fingerprint=FINGERPRINT, spec={}, rows=counts, info=info,
                    created=datetime.now(UTC))  # fmt: skip
    publish(storage, prefix(FINGERPRINT), local, record)
    return storage


def _split(rng: np.random.Generator, split: str, n: int, **shape: Any) -> pa.Table:
    classes, mel, width = shape["classes"], shape["mel_bands"], shape["width"]
    label = np.arange(n) % classes
    has_audio = np.arange(n) < n - shape["missing"] if "audio" in shape["modalities"] else np.zeros(n, dtype=bool)
    columns: dict[str, Any] = {
        "uid": [f"{split}-{i}" for i in range(n)], "split": [split] * n,
        "dialogue": [f"{split}-{i // 5}" for i in range(n)], "speaker": [f"s{i % 3}" for i in range(n)],
        "label": pa.array(label, pa.int64()), "text_hash": pa.array(np.arange(n) // 2, pa.int64()),
        "has_audio": has_audio.tolist(),
        "seconds": pa.array(rng.uniform(0.4, 1.2, n), pa.float32()),
    }  # fmt: skip
    if "audio" in shape["modalities"]:
        lengths = rng.integers(20, 60, n)
        signal = np.eye(classes, mel)[label] * 2
        frames = [rng.normal(s, 1.0, size=(t, mel)) for s, t in zip(signal, lengths, strict=True)]
        columns["frames"] = list_column(frames, np.float16)
    if "text" in shape["modalities"]:
        tokens = [_words(rng, int(y), classes, shape["vocabulary"]) for y in label]
        columns["tokens"] = list_column(tokens, np.int32)
    names = [t for t in ("audio", "text") if t in shape["modalities"]]
    for teacher in [*names, *(["fusion"] if len(names) == 2 else [])]:
        wide = width * (1 + (teacher == "fusion"))
        logits = np.eye(classes)[label] * 2 + rng.normal(size=(n, classes))
        columns[f"{teacher}.logits"] = list_column(list(logits), np.float32)
        pooled = np.eye(classes, wide)[label] + rng.normal(size=(n, wide)) * 0.3
        columns[f"{teacher}.pooled"] = list_column(list(pooled), np.float16)
        if teacher != "fusion" and shape["attention"]:
            maps = rng.dirichlet(np.ones(shape["grid"]), size=(n, shape["grid"]))
            columns[f"{teacher}.attention"] = list_column(list(maps), np.float16)
        if teacher != "fusion" and shape["frames"]:
            sequences = [rng.normal(size=(int(t), wide)) for t in rng.integers(3, 9, n)]
            columns[f"{teacher}.frames"] = list_column(sequences, np.float16)
            if teacher == "audio" and shape["segments"]:
                columns |= _spans([len(s) for s in sequences])
    if shape["votes"]:
        said = rng.dirichlet(np.ones(classes), size=n) * 0.4 + np.eye(classes)[label] * 0.6
        said[0] = np.nan
        columns["votes"] = list_column(list(said), np.float32)
    return pa.table(columns)


def _spans(lengths: list[int]) -> dict[str, Any]:
    """Phones of one frame, syllables of two, words of three; none for the first row."""
    found = {}
    for step, granularity in enumerate(GRANULARITIES, start=1):
        spans = [[(j, min(j + step, length)) for j in range(0, length, step)] for length in lengths]
        rows = [np.asarray(row if i else [], dtype=np.int32).reshape(-1, 2) for i, row in enumerate(spans)]
        found[f"{granularity}.segments"] = list_column(rows, np.int32)
    return found


def _words(rng: np.random.Generator, label: int, classes: int, vocabulary: int) -> np.ndarray[Any, Any]:
    """Three to eight pieces, one of them the label's own (0 is padding, 1 unknown)."""
    words = rng.integers(2 + classes, vocabulary, int(rng.integers(3, 9)))
    words[int(rng.integers(0, len(words)))] = 2 + label
    return words
