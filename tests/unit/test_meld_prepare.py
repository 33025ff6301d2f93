"""The prepare stage: skipped when done, whole or not at all, and what is shown of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.helpers.meld_trees import row, write_csv, write_csvs
from trainables.artifacts import read_record
from trainables.corpus import prefix, read_table, shards
from trainables.errors import CorpusError
from trainables.importers import IMPORTERS, parquet_writer
from trainables.importers.base import Problem
from trainables.importers.meld import MeldImporter
from trainables.importers.meld_rows import Utterance
from trainables.prepare import corpus_fingerprint, prepare, problem_table
from trainables.spec import MeldSpec
from trainables.storage import Storage

TEXT = MeldSpec(modalities=("text",))
ROWS = {
    "train": [row(0, 0), row(0, 1), row(2, 0, Emotion="joy")],
    "dev": [row(0, 0, Season="2")],
    "test": [row(7, 0, Season="3"), row(0, 0) | {"Dialogue_ID": "8", "Emotion": "anger"}],
}


def ignore(done: int, total: int) -> None:
    assert done <= total


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_csvs(tmp_path / "meld", ROWS)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


def test_text_alone_makes_every_row_and_a_record(root: Path, storage: Storage) -> None:
    seen: list[tuple[int, int]] = []
    record = prepare(storage, TEXT, root, 1, lambda done, total: seen.append((done, total)))
    assert record.fingerprint == corpus_fingerprint(TEXT, root)
    assert record.rows == {"train": 3, "dev": 1, "test": 2}
    assert seen == [(n, 6) for n in range(1, 7)]
    table = read_table(storage, record.fingerprint)
    assert table["uid"].to_pylist() == [
        "train-dia0-utt0",
        "train-dia0-utt1",
        "train-dia2-utt0",
        "dev-dia0-utt0",
        "test-dia7-utt0",
        "test-dia8-utt0",
    ]
    assert table["label"].to_pylist() == ["neutral", "neutral", "joy", "neutral", "neutral", "anger"]
    assert table["audio"].null_count == 6
    assert set(table["seconds"].to_pylist()) == {0.0}


def test_a_copy_in_another_split_is_flagged_and_kept(root: Path, storage: Storage) -> None:
    shown = problem_table(prepare(storage, TEXT, root, 1, ignore))
    reason = "same text, episode and times as"
    assert shown.problems == (
        Problem("train-dia0-utt0", "duplicate", f"{reason} test-dia8-utt0, labelled anger there"),
        Problem("test-dia8-utt0", "duplicate", f"{reason} train-dia0-utt0, labelled neutral there"),
    )
    assert [(c.split, c.rows, c.expected, c.faulty) for c in shown.counts] == [
        ("train", 3, 9989, 1),
        ("dev", 1, 1109, 0),
        ("test", 2, 2610, 1),
    ]
    assert (shown.statuses, shown.complete, shown.stand_in) == ({"duplicate": 2}, False, False)


def test_a_copy_within_a_split_is_a_remark(tmp_path: Path, storage: Storage) -> None:
    twin = row(0, 0) | {"Dialogue_ID": "4", "Emotion": "fear"}
    root = write_csvs(tmp_path / "meld", {"train": [row(0, 0), twin]})
    shown = problem_table(prepare(storage, TEXT, root, 1, ignore))
    assert not shown.problems
    assert [(r.uid, r.status) for r in shown.remarks] == [("train-dia0-utt0", "ok"), ("train-dia4-utt0", "ok")]


def test_the_second_time_does_nothing(root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(storage, TEXT, root, 1, ignore)

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("imported again")

    monkeypatch.setattr(MeldImporter, "prepare", never)
    assert prepare(storage, TEXT, root, 1, ignore) == first
    write_csv(root / "dev_sent_emo.csv", [row(1, 1)])
    with pytest.raises(AssertionError, match="imported again"):
        prepare(storage, TEXT, root, 1, ignore)


def test_a_failure_leaves_nothing_and_a_dead_writers_shards_are_removed(
    root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = prefix(corpus_fingerprint(TEXT, root))
    storage.write_text(f"{place}/utterances-00009.parquet", "left by a writer that died")

    def failing(done: int, total: int) -> None:
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        prepare(storage, TEXT, root, 1, failing)
    assert read_record(storage, place) is None
    record = prepare(storage, TEXT, root, 1, ignore)
    assert shards(storage, record.fingerprint) == [f"{place}/utterances-00000.parquet"]


def test_what_a_killed_writer_left_in_the_temporary_folder_is_removed(
    root: Path, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    left = tmp_path / "temporary" / f"orch-prepare-{os.getuid()}-{corpus_fingerprint(TEXT, root)}"
    left.mkdir(parents=True)
    (left / "utterances-00007.parquet").write_bytes(b"half a shard")
    assert list(prepare(storage, TEXT, root, 1, ignore).files) == ["utterances-00000.parquet"]
    assert not left.exists()


def test_a_dialogue_in_two_splits_is_refused(root: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Utterance, "dialogue", "dia0")
    monkeypatch.setattr(Utterance, "uid", property(lambda u: f"{u.split}{u.clip}"))
    with pytest.raises(CorpusError, match="dialogue dia0 is in train and in dev"):
        prepare(storage, TEXT, root, 1, ignore)


def test_shards_are_closed_by_rows_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_writer, "SHARD_ROWS", 3)
    monkeypatch.setattr(parquet_writer, "SHARD_BYTES", 100)
    values: dict[str, Any] = {
        "turn": 0,
        "text_hash": 1,
        "seconds": 0.0,
        "raw_seconds": 0.0,
        "words": None,
        "phones": None,
    }
    names = ("uid", "split", "dialogue", "speaker", "label", "text", "status", "reason")
    values |= dict.fromkeys(names, "x")
    with parquet_writer.ShardWriter(tmp_path) as writer:
        for size in (1, 1, 1, 60, 60, 1):
            writer.add(values | {"audio": b"x" * size})
    counts = [pq.read_metadata(path).num_rows for path in sorted(tmp_path.iterdir())]
    assert counts == [3, 2, 1]


def test_meld_without_a_root_says_how_to_give_one() -> None:
    with pytest.raises(CorpusError, match="--root"):
        IMPORTERS["meld"].source_digest(MeldSpec(), None)
