"""The transfer set on disk: what is written is what is mapped, and nothing half-written counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from trainables.artifacts import read_record
from trainables.errors import ArtifactError
from trainables.spec.base import MODALITIES
from trainables.storage import Storage
from trainables.transfer_set import TransferSet, files, flat, list_column, materialise, prefix, shard_name
from trainables.transfer_set.decoding import decoded_size


def test_every_column_has_its_shape(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, attention=True, frames=True)
    assert len(data) == 50
    kinds = [(m, s.kind, s.width, s.values.dtype.name) for m, s in data.streams.items()]
    assert kinds == [("audio", "log_mel", 8, "float16"), ("text", "tokens", 30, "int32")]
    assert all(len(s.offsets) == 51 and len(s.values) == s.offsets[-1] for s in data.streams.values())
    assert data.teachers["audio"].logits.shape == (50, 7)
    assert data.teachers["fusion"].pooled.shape == (50, 24)
    attention = data.teachers["text"].attention
    assert attention is not None and attention.shape == (50, 4, 4)
    sequence, offsets = data.teachers["text"].frames, data.teachers["text"].frame_offsets
    assert sequence is not None and offsets is not None and len(sequence) == offsets[-1]
    assert data.token_table is not None and data.token_table.shape == (30, 12)


def test_columns_are_memory_mapped(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50)
    assert isinstance(data.streams["audio"].values, np.memmap) and isinstance(
        data.teachers["text"].logits, np.memmap
    )


def test_train_leaves_out_rows_without_audio_and_test_does_not(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, missing=3)
    assert len(data.rows("train", ("audio", "text"))) == 27
    assert len(data.rows("train", ("text",))) == 30
    assert len(data.rows("test", ("audio", "text"))) == 10


def test_train_keeps_rows_with_any_modality_beside_pictures(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, missing=3, modalities=("audio", "text", "visual"))
    assert not data.present("audio")[27:30].any() and not data.present("visual")[:3].any()
    assert data.present("text").all()
    assert len(data.rows("train", ("visual",))) == 27
    assert len(data.rows("train", ("audio", "visual"))) == 30
    assert len(data.rows("test", ("visual",))) == 10


def test_pictures_vectors_and_several_labels(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, modalities=("audio", "visual"), several=True)
    pictures = data.streams["visual"]
    assert pictures.kind == "images" and pictures.values.dtype.name == "uint8"
    assert pictures.values.shape[1:] == (16, 16)
    assert data.multi_label and data.targets is not None and data.truth is data.targets
    assert data.targets.shape == (50, 7) and (data.targets.sum(axis=1) == 2).any() and (data.label == -1).all()


def test_a_corpus_of_vectors_has_no_teacher(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, modalities=("audio", "text", "visual"), vectors=True)
    assert [s.kind for s in data.streams.values()] == ["vectors"] * 3 and not data.teachers
    assert not data.multi_label and data.truth is data.label


def test_one_modality_leaves_the_other_absent(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=50, modalities=("text",))
    assert list(data.streams) == ["text"]
    assert list(data.teachers) == ["text"] and data.teachers["text"].attention is None


def test_materialise_is_done_once(tmp_path: Path) -> None:
    synthetic(tmp_path, n=50)
    folder = tmp_path / "cache" / FINGERPRINT
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")}
    assert materialise(Storage(str(tmp_path / "nowhere")), FINGERPRINT, tmp_path / "cache") == folder
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("*.npy")} == before


def test_a_damaged_shard_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    synthetic(tmp_path, n=50)
    storage = Storage(str(tmp_path / "store"))
    key = f"{prefix(FINGERPRINT)}/{shard_name(0)}"
    storage.write_bytes(key, storage.read_bytes(key)[:-1] + b"\0")
    with pytest.raises(ArtifactError, match="checksum"):
        materialise(storage, FINGERPRINT, tmp_path / "other")
    assert [p for p in (tmp_path / "other").iterdir() if p.is_dir()] == []
    with pytest.raises(ArtifactError, match="not a materialised"):
        TransferSet.open(tmp_path / "other" / FINGERPRINT)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"frames": True, "segments": True},
        {"modalities": ("audio", "visual"), "several": True},
        {"modalities": MODALITIES, "vectors": True},
        {"votes": True, "mel_bands": 40},
    ],
)
def test_the_room_that_a_set_takes_is_known_before_it_is_decoded(tmp_path: Path, given: dict[str, Any]) -> None:
    synthetic(tmp_path, n=200, **given)
    record = read_record(Storage(str(tmp_path / "store")), prefix(FINGERPRINT))
    assert record is not None
    taken = sum(path.stat().st_size for path in (tmp_path / "cache" / FINGERPRINT).iterdir())
    assert taken < decoded_size(record) + 10_000 and decoded_size(record) < 2 * taken + 300_000


def test_an_unfinished_harvest_is_no_transfer_set(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not finished"):
        materialise(Storage(str(tmp_path)), FINGERPRINT, tmp_path / "cache")


def test_more_values_than_an_int32_numbers_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = synthetic(tmp_path / "plain", n=50, modalities=MODALITIES)
    monkeypatch.setattr(files, "LIST_MOST", 0)
    large = synthetic(tmp_path / "large", n=50, modalities=MODALITIES)
    with Storage(str(tmp_path / "large" / "store")).open(f"{prefix(FINGERPRINT)}/{shard_name(0)}") as handle:
        types = {field.name: field.type for field in pq.read_schema(handle)}
    assert pa.types.is_large_list(types["visual.stream"]) and types["visual.stream"].value_type == pa.uint8()
    for modality, stream in plain.streams.items():
        np.testing.assert_array_equal(large.streams[modality].values, stream.values)
        np.testing.assert_array_equal(large.streams[modality].offsets, stream.offsets)
    np.testing.assert_array_equal(large.teachers["fusion"].logits, plain.teachers["fusion"].logits)


def test_rows_of_a_small_list_fit_beside_those_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged shard has the clean one's columns, and fewer rows."""
    rows = [np.arange(3), np.arange(4)]
    small = list_column(rows, np.int32)
    monkeypatch.setattr(files, "LIST_MOST", 6)
    large = pa.table({"words": list_column(rows, np.int32)})
    joined = pa.table({"words": small}, schema=large.schema)
    assert joined == large and flat(joined, "words")[1].tolist() == [3, 4]
