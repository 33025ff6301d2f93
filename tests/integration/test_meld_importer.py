"""The importer on a tree with MELD's layout and faults, and on the official CSV files."""

from __future__ import annotations

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.meld_trees import FOLDERS, row, tone, write_clip, write_csvs, write_picture
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.importers.base import Problem
from trainables.prepare import prepare, problem_table
from trainables.spec import MeldSpec
from trainables.storage import Storage

SHARED = Path(__file__).parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "data" / "meld").is_dir(), reason="the official CSV files are not beside the repository"
)


def ignore(done: int, total: int) -> None:
    assert done <= total


def faulty_tree(root: Path) -> Path:
    """Ten test rows, each of another kind; one row and one clip in the other splits; two clips without a row."""
    rows = [row(1, n, Season="3") for n in range(10)]
    rows[6] = row(1, 6, Season="3", StartTime="0:00:01,000", EndTime="0:00:01,000")
    rows[7] = row(0, 0) | {"Dialogue_ID": "1", "Utterance_ID": "7"}  # the train row again
    write_csvs(root, {"train": [row(0, 0)], "dev": [row(0, 0, Season="2")], "test": rows})
    clips: dict[int, Callable[[Path], object]] = {
        0: lambda path: write_clip(path, tone(1)[None]),
        1: lambda path: write_clip(path, np.stack([tone(1), 0 * tone(1)]), "stereo"),
        2: lambda path: write_clip(path, tone(0.03)[None]),
        3: lambda path: write_clip(path, tone(3)[None]),
        4: lambda path: path.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(200)),
        5: write_picture,
        6: lambda path: write_clip(path, tone(0.5)[None]),
        7: lambda path: write_clip(path, tone(0.5)[None]),
        8: lambda path: write_clip(path, 0 * tone(0.5)[None]),
        10: lambda path: write_clip(path, tone(0.5)[None]),
    }
    for split, folder in FOLDERS.items():
        (root / folder).mkdir()
        if split != "test":
            write_clip(root / folder / "dia0_utt0.mp4", tone(1)[None])
            (root / folder / "._dia0_utt0.mp4").write_bytes(b"\x00\x05\x16\x07")
    for number, write in clips.items():
        write(root / FOLDERS["test"] / f"dia1_utt{number}.mp4")
    write_clip(root / FOLDERS["dev"] / "dia49_utt4.mp4", tone(0.5)[None])
    return root


def test_every_fault_is_said_and_no_row_is_lost(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, MeldSpec(max_seconds=2), faulty_tree(tmp_path / "meld"), 2, ignore)
    shown = problem_table(record)
    assert record.rows == {"train": 1, "dev": 1, "test": 10}
    assert {p.uid: p.status for p in shown.problems} == {
        "train-dia0-utt0": "duplicate",
        "test-dia1-utt2": "too_short",
        "test-dia1-utt3": "too_long",
        "test-dia1-utt4": "decode_error",
        "test-dia1-utt5": "no_audio",
        "test-dia1-utt6": "zero_interval",
        "test-dia1-utt7": "duplicate",
        "test-dia1-utt9": "missing_media",
    }
    assert shown.extra_clips == ("dev-dia49-utt4", "test-dia1-utt10")
    assert shown.remarks == (Problem("test-dia1-utt8", "ok", "digital silence"),)
    assert [(c.split, c.rows, c.faulty) for c in shown.counts] == [
        ("train", 1, 1),
        ("dev", 1, 0),
        ("test", 10, 7),
    ]
    rows = {r["uid"]: r for r in read_table(storage, record.fingerprint).to_pylist()}
    assert rows["test-dia1-utt2"]["seconds"] == pytest.approx(0.4)
    assert rows["test-dia1-utt3"]["seconds"] == 2
    assert rows["test-dia1-utt3"]["raw_seconds"] == pytest.approx(3, abs=0.1)


@needs_shared
def test_the_official_csv_files_have_the_official_counts(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "store"))
    record = prepare(storage, MeldSpec(modalities=("text",)), SHARED / "data" / "meld", 1, ignore)
    shown = problem_table(record)
    assert [(c.rows, c.expected) for c in shown.counts] == [(9989, 9989), (1109, 1109), (2610, 2610)]
    assert {p.uid: p.status for p in shown.problems} == {
        "train-dia12-utt7": "duplicate",
        "test-dia85-utt0": "duplicate",
    }
    table = read_table(storage, record.fingerprint, ["split", "label", "text", "dialogue"])
    train = [r["label"] for r in table.to_pylist() if r["split"] == "train"]
    counts = {label: train.count(label) for label in record.info["labels"]}
    assert list(counts.values()) == [4710, 1205, 268, 683, 1743, 271, 1109]
    assert len({r["dialogue"] for r in table.to_pylist() if r["split"] == "train"}) == 1038
    assert table["text"][0].as_py().startswith("also I was the point person on my company’s")


@needs_shared
def test_the_constructed_tree_has_its_faults_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    construct(tmp_path / "meld", monkeypatch)
    storage = Storage(str(tmp_path / "store"))
    record: Record = prepare(storage, MeldSpec(), tmp_path / "meld", 2, ignore)
    problems = problem_table(record).problems
    assert {(p.uid.split("-")[0], p.status) for p in problems} == {
        ("train", "decode_error"),
        ("dev", "missing_media"),
        ("test", "too_short"),
        ("test", "too_long"),
    }
    assert {p.uid for p in problems} >= {"train-dia125-utt3", "dev-dia110-utt7"}
    assert record.rows == {"train": 15, "dev": 8, "test": 7}
    for r in read_table(storage, record.fingerprint).to_pylist():
        if r["audio"] is not None and r["status"] != "too_short":  # its 64 ms are the breath before the sentence
            samples, _ = soundfile.read(io.BytesIO(r["audio"]))
            assert np.abs(samples).max() > 1e-3


def construct(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SHARED / "tools" / "constructed_meld.py"
    spec = importlib.util.spec_from_file_location("constructed_meld", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", [str(path), str(out), "--per-class", "2"])
    module.main()
