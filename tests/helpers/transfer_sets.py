"""A small valid transfer set made by rule, without any teacher: for tests of what reads one."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save_file

from trainables.artifacts import Record, publish
from trainables.spec import EMOTIONS
from trainables.spec.base import MODALITIES, in_order
from trainables.spec.needs import GRANULARITIES
from trainables.storage import Storage
from trainables.transfer_set import (
    TOKEN_TABLE,
    TransferSet,
    list_column,
    prefix,
    shard_name,
    step_shape,
    stream_column,
)

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
    several: bool = False,
    vectors: bool = False,
    classes: int = 7,
    mel_bands: int = 8,
    vocabulary: int = 30,
    width: int = 12,
    grid: int = 4,
    side: int = 16,
    missing: int = 2,
) -> TransferSet:
    """Write, publish, materialise and open `n` utterances (60 % train, 20 % dev, 20 % test).

    The label can be read from the mean of the frames, from the tokens, from where the pictures are bright and from
    each teacher's logits, all with noise. The last `missing` rows of every split have no audio, the first `missing`
    no pictures. `several`: a row has its label and, every third, the next one, too. `vectors`: streams of vectors,
    and no teacher. `frames` adds the teachers' frame sequences, `segments` spans of the audio teacher's frames at
    every granularity (none in each split's first row), `votes` what three raters said (nobody was asked in each
    split's first row).
    """
    storage = publish_synthetic(
        Storage(str(folder / "store")), n, seed, modalities=modalities, attention=attention, frames=frames,
        segments=segments, votes=votes, several=several, vectors=vectors, side=side,
        classes=classes, mel_bands=mel_bands, vocabulary=vocabulary, width=width, grid=grid, missing=missing,
    )  # fmt: skip
    return TransferSet.fetched(storage, FINGERPRINT, folder / "cache")


def publish_synthetic(storage: Storage, n: int, seed: int, **shape: Any) -> Storage:
    rng = np.random.default_rng(seed)
    counts = {"train": n - 2 * (n // 5), "dev": n // 5, "test": n // 5}
    tables = [_split(rng, split, count, **shape) for split, count in counts.items()]
    local = Path(storage.root).parent / "shards"
    local.mkdir(parents=True, exist_ok=True)
    for index, table in enumerate(tables):
        pq.write_table(table, local / shard_name(index), compression="zstd")
    modalities, classes = shape["modalities"], shape["classes"]
    if "text" in modalities and not shape["vectors"]:
        table_rows = rng.normal(size=(shape["vocabulary"], shape["width"])).astype(np.float32)
        save_file({"weight": table_rows}, str(local / TOKEN_TABLE))
    names = teachers_of(modalities, vectors=shape["vectors"])
    whole = pa.concat_tables(tables)
    sequences = [c for c in whole.column_names if c.endswith((".stream", ".frames", ".segments"))]
    streams = _streams(shape)
    steps = {stream_column(m): math.prod(step_shape(s["kind"], s["width"])) for m, s in streams.items()}
    widths = steps | {f"{g}.segments": 2 for g in GRANULARITIES}
    info = {
        "labels": list(EMOTIONS[:classes]),
        "multi_label": shape["several"],
        "streams": streams,
        "pad_id": 0,
        "unk_id": 1,
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


def teachers_of(modalities: tuple[str, ...], *, vectors: bool = False) -> list[str]:
    """The teachers of a synthetic set: one a modality, and a fusion of several."""
    alone = () if vectors else in_order(modalities)
    return [*alone, *(["fusion"] if len(alone) > 1 else [])]


def _streams(shape: dict[str, Any]) -> dict[str, dict[str, Any]]:
    bands = shape["mel_bands"]
    scale = {"mean": [0.0] * bands, "std": [1.0] * bands}
    kinds: dict[str, dict[str, Any]] = {
        "audio": {"kind": "log_mel", "width": bands, **scale},
        "text": {"kind": "tokens", "width": shape["vocabulary"]},
        "visual": {"kind": "images", "width": shape["side"]},
    }
    if shape["vectors"]:
        kinds = {m: {"kind": "vectors", "width": bands, **scale} for m in MODALITIES}
    return {m: kinds[m] for m in in_order(shape["modalities"])}


def _split(rng: np.random.Generator, split: str, n: int, **shape: Any) -> pa.Table:
    classes = shape["classes"]
    label = np.arange(n) % classes
    columns: dict[str, Any] = {
        "uid": [f"{split}-{i}" for i in range(n)], "split": [split] * n,
        "dialogue": [f"{split}-{i // 5}" for i in range(n)], "speaker": [f"s{i % 3}" for i in range(n)],
        "label": pa.array(np.full(n, -1) if shape["several"] else label, pa.int64()),
        "text_hash": pa.array(np.arange(n) // 2, pa.int64()),
        "seconds": pa.array(rng.uniform(0.4, 1.2, n), pa.float32()),
    }  # fmt: skip
    columns |= _inputs(rng, label, n, **shape)
    if shape["several"]:
        targets = np.eye(classes, dtype=np.float32)[label]
        targets[::3] += np.eye(classes, dtype=np.float32)[(label[::3] + 1) % classes]
        columns["targets"] = list_column(list(targets), np.float32)
    columns |= _taught(rng, label, n, **shape)
    if shape["votes"]:
        said = rng.dirichlet(np.ones(classes), size=n) * 0.4 + np.eye(classes)[label] * 0.6
        said[0] = np.nan
        columns["votes"] = list_column(list(said), np.float32)
    return pa.table(columns)


def _inputs(rng: np.random.Generator, label: Any, n: int, **shape: Any) -> dict[str, Any]:
    """What the student reads."""
    classes, mel, vectors = shape["classes"], shape["mel_bands"], shape["vectors"]
    columns: dict[str, Any] = {}
    if "audio" in shape["modalities"]:
        lengths = rng.integers(20, 60, n)
        signal = np.eye(classes, mel)[label] * 2
        frames = [rng.normal(s, 1.0, size=(t, mel)) for s, t in zip(signal, lengths, strict=True)]
        columns["audio.stream"] = list_column(frames, np.float16)
        columns["has_audio"] = (np.arange(n) < n - shape["missing"]).tolist()
    if "text" in shape["modalities"]:
        tokens = [_words(rng, int(y), classes, shape["vocabulary"]) for y in label]
        read = _vectors(rng, label, classes, mel) if vectors else tokens
        columns["text.stream"] = list_column(read, np.float16 if vectors else np.int32)
    if "visual" in shape["modalities"]:
        pictures = [_pictures(rng, int(y), shape["side"]) for y in label]
        seen = _vectors(rng, label, classes, mel) if vectors else pictures
        columns["visual.stream"] = list_column(seen, np.float16 if vectors else np.uint8)
        columns["has_visual"] = (np.arange(n) >= shape["missing"]).tolist()
    return columns


def _taught(rng: np.random.Generator, label: Any, n: int, **shape: Any) -> dict[str, Any]:
    """What the teachers say."""
    classes, width = shape["classes"], shape["width"]
    columns: dict[str, Any] = {}
    for teacher in teachers_of(shape["modalities"], vectors=shape["vectors"]):
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
    return columns


def _vectors(rng: np.random.Generator, label: Any, classes: int, width: int) -> list[np.ndarray[Any, Any]]:
    signal = np.eye(classes, width)[label] * 2
    return [rng.normal(s, 1.0, size=(int(rng.integers(3, 9)), width)) for s in signal]


def _pictures(rng: np.random.Generator, label: int, side: int) -> np.ndarray[Any, Any]:
    """Two to five pictures of noise, brighter in the label's own columns."""
    pictures = rng.integers(0, 120, size=(int(rng.integers(2, 6)), side, side))
    pictures[:, :, 2 * label : 2 * label + 2] += 120
    return pictures.astype(np.uint8)


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
