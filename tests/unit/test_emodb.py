"""EmoDB's tree: names, copies, folds by speaker, and labels that are absent, broken or of longer recordings."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.crema_d_trees import write_stub
from tests.helpers.emodb_trees import A01, SPEAKERS, names, write_phones, write_syllables, write_tree
from tests.helpers.sounds import write_sound
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.emodb import EmoDBImporter, find_layout
from trainables.importers.lfs import explain
from trainables.prepare import prepare, problem_table
from trainables.spec import EmoDBSpec
from trainables.spec.any_corpus import ProportionalAlignment
from trainables.storage import Storage


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: EmoDBSpec | None = None) -> tuple[Record, dict[str, dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec or EmoDBSpec(), root, 1, ignore)
    return record, {row["uid"]: row for row in read_table(storage, record.fingerprint).to_pylist()}


def test_a_name_says_speaker_sentence_and_emotion(tmp_path: Path) -> None:
    record, rows = prepared(write_tree(tmp_path / "raw", [*names(), "16b10Tc"]))
    assert record.rows == {"all": 21}
    assert record.info["labels"] == ["neutral", "anger", "boredom", "disgust", "fear", "happiness", "sadness"]
    row = rows["16b10Tc"]
    assert (row["speaker"], row["label"]) == ("16", "sadness")
    assert row["text"] == "Die wird auf dem Platz sein, wo wir sie immer hinlegen."
    assert {rows[name]["label"] for name in names()} == {"neutral", "anger"}
    assert record.info["genders"]["08"] == "female"


def test_every_speaker_is_tested_once_and_the_next_one_is_dev(tmp_path: Path) -> None:
    record, rows = prepared(write_tree(tmp_path / "raw", names()))
    for fold in range(10):
        by = {
            split: {r["speaker"] for r in rows.values() if r["folds"][fold] == split} for split in ("dev", "test")
        }
        assert by == {"test": {SPEAKERS[fold]}, "dev": {SPEAKERS[(fold + 1) % 10]}}
    assert record.info["speaker_disjoint"] == ["train", "dev", "test"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("03a01Xa", "unknown emotion 'X'; EmoDB's are N, W, L, E, A, F, T"),
        ("04a01Na", "unknown speaker '04'; EmoDB's are 03, 08"),
        ("03a03Na", "unknown sentence 'a03'; EmoDB's are a01, a02"),
        ("03a01N", "not a name of EmoDB's"),
        ("notes", "not a name of EmoDB's"),
    ],
)
def test_a_name_that_is_none_is_named(name: str, told: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", [*names(), name])
    with pytest.raises(CorpusError, match=f"^{re.escape(str(root / 'wav' / name))}.wav: {re.escape(told)}"):
        find_layout(root)


def test_stubs_of_a_mac_and_other_files_are_not_clips(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    (root / "wav" / "._03a01Na.wav").write_bytes(b"\x00\x05\x16\x07")
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "x.wav").touch()
    (root / "erkennung.txt").touch()
    assert sorted(find_layout(root).clips.of) == sorted(names())


def test_a_copy_is_read_once_and_remarked_upon(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    shutil.copytree(root / "wav", root / "again" / "wav")
    write_sound(root / "flac" / "03a01Na.flac")
    record, rows = prepared(root)
    assert len(rows) == 20
    told = [remark.reason for remark in problem_table(record).remarks if remark.uid == "all"]
    assert told[0].startswith("20 files are there twice, byte for byte (as ")
    assert told[1] == "1 clip is there as wav and as flac; the wav was read"


@pytest.mark.parametrize("seconds", [1.0, 1.1], ids=["of one size", "of another size"])
def test_a_copy_that_differs_is_an_error(seconds: float, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    other = write_sound(root / "again" / "03a01Na.wav", seconds, 999)
    kept = root / "again" / "03a01Na.wav", root / "wav" / "03a01Na.wav"
    assert other.stat().st_size == kept[1].stat().st_size or seconds != 1.0
    told = f"{kept[0]} and {kept[1]} have one name and differ"
    with pytest.raises(CorpusError, match=re.escape(told)):
        prepared(root)


def test_a_folder_without_clips_or_without_a_speaker_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="not EmoDB: no clips named as 03a01Fa"):
        find_layout(tmp_path / "empty")
    root = write_tree(tmp_path / "raw", [name for name in names() if not name.startswith("16")])
    with pytest.raises(CorpusError, match="by its ten speakers: 10 folds of 9 groups"):
        prepared(root)
    with pytest.raises(CorpusError, match="cannot be read"):
        find_layout(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="ORCH_CORPORA__EMODB"):
        find_layout(None)


def test_labels_are_cut_to_the_audio_and_counted_where_they_are_not(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names(), seconds=0.65)
    write_syllables(root, "03a01Na")
    write_phones(root, "03a01Na", [(0.1, "_d"), (0.15, "!d"), (0.2, "E6"), (0.6, "l"), (0.7, "a"), (0.9, ".")])
    record, rows = prepared(root)
    row = rows["03a01Na"]
    assert row["aligned"] == "corpus"
    assert [word["label"] for word in row["words"]] == ["Der", "Lappen", "liegt", "auf", "dem"]
    assert [(p["label"], round(p["end"], 4)) for p in row["phones"]] == [("d", 0.2), ("E6", 0.6), ("l", 0.65)]
    assert row["syllables"][-1]["end"] == pytest.approx(0.65)
    assert all(rows[name]["words"] is rows[name]["aligned"] is None for name in names() if name != "03a01Na")
    assert [remark.reason for remark in problem_table(record).remarks] == [
        f"19 of 20 rows have no {kind}, as there is no label file or an empty one: 03a01Wa, 08a01Na, 08a01Wa, "
        "09a01Na, 09a01Wa, …"
        for kind in ("phones", "syllables")
    ] + ["the alignments of 1 row run past the end of their audio: 4 of their 18 segments left out"]


def test_a_label_file_that_cannot_be_read_costs_its_row_the_alignment_alone(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    for name in names():
        write_syllables(root, name)
        write_phones(root, name, [(0.1, "d"), (0.9, ".")])
    (root / "silb" / "08a01Wa.silb").write_text("0.1\tder\nnonsense\n")
    record, rows = prepared(root)
    assert (rows["08a01Wa"]["status"], rows["08a01Wa"]["words"]) == ("ok", None)
    assert len(rows["08a01Wa"]["phones"]) == 1
    said = {remark.uid: remark.reason for remark in problem_table(record).remarks}
    assert said["08a01Wa"] == "08a01Wa.silb: line 2: 'nonsense' is not a time and a label"


def test_labsilb_stands_in_for_an_empty_silb(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_syllables(root, "13a01Wa", [])
    path = write_phones(root, "13a01Wa", [(time, f"{label}\t0.4") for time, label in A01])
    (root / "labsilb").mkdir()
    path.rename(root / "labsilb" / "13a01Wa.labsilb")
    _, rows = prepared(root)
    assert [s["label"] for s in rows["13a01Wa"]["syllables"]] == [label for _, label in A01[:-1]]
    assert len(rows["13a01Wa"]["words"]) == 6


def test_another_alignment_takes_the_place_of_the_corpuss_own(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_syllables(root, "03a01Na")
    _, rows = prepared(root, EmoDBSpec(alignment=ProportionalAlignment()))
    assert "corpus" not in {row["aligned"] for row in rows.values()}


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_sound(root / "wav" / "03a01Na.wav", 1.1),
        lambda root: write_sound(root / "wav" / "03a02Na.wav"),
        lambda root: write_syllables(root, "03a01Na", A01[:-1]),
        lambda root: (root / "silb" / "03a01Na.silb").unlink(),
    ],
    ids=["another length", "one more", "other labels", "no labels"],
)
def test_the_digest_is_of_clips_and_labels_wherever_they_lie(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_syllables(root, "03a01Na")
    first = EmoDBImporter().source_digest(EmoDBSpec(), root)
    moved = shutil.copytree(root, tmp_path / "moved" / "inner")
    assert EmoDBImporter().source_digest(EmoDBSpec(), tmp_path / "moved") == first
    change(moved)
    assert EmoDBImporter().source_digest(EmoDBSpec(), moved) != first


def test_a_git_lfs_stub_is_explained(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", names())
    write_stub(root / "wav" / f"{names()[0]}.wav")
    shown = problem_table(prepared(root)[0])
    assert [(problem.uid, problem.status) for problem in shown.problems] == [(names()[0], "lfs_stub")]
    assert [said.reason for said in shown.remarks if "git lfs pull" in said.reason] == [explain(1, 20, root)]
