"""A manifest of anybody's: what each column does, and every fault as a sentence with file, row and value."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.manifest_trees import Row, row, rows, write_clips, write_csv, write_parquet, write_tree
from tests.helpers.sounds import write_sound
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.manifest import ManifestImporter
from trainables.prepare import prepare, problem_table
from trainables.spec import ManifestSpec
from trainables.storage import Storage

TEXT = ManifestSpec(modalities=("text",))
SOUND = ManifestSpec()


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: ManifestSpec = TEXT) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def fault(root: Path, spec: ManifestSpec = TEXT) -> str:
    with pytest.raises(CorpusError) as raised:
        prepared(root, spec)
    return str(raised.value)


def test_the_columns_become_the_rows(tmp_path: Path) -> None:
    record, found = prepared(write_tree(tmp_path / "raw"), ManifestSpec())
    assert record.rows == {"train": 4, "dev": 2, "test": 2}
    assert record.info["labels"] == ["calm", "cross"]
    assert (
        [r["uid"] for r in found] == [f"row-{number}" for number in range(2, 10)] == [r["dialogue"] for r in found]
    )
    assert [r["label"] for r in found] == ["calm", "cross"] * 4
    assert {r["seconds"] for r in found} == {0.5}
    assert {r["speaker"] for r in found} == {"unknown"}
    assert record.info["speaker_disjoint"] == []


@pytest.mark.parametrize("place", ["", "manifest.csv"], ids=["its folder", "itself"])
def test_the_root_is_the_manifest_or_its_folder(place: str, tmp_path: Path) -> None:
    record, _ = prepared(write_tree(tmp_path / "raw") / place)
    assert sum(record.rows.values()) == 8


def test_parquet_says_what_csv_says(tmp_path: Path) -> None:
    lines = [row(n, fold=n % 3, split=None, start=0.25, end=None if n else 0.5, uid=f"u{n}") for n in range(8)]
    spec = ManifestSpec(folds=3)
    tables = []
    for name, write in (("manifest.csv", write_csv), ("manifest.parquet", write_parquet)):
        write_clips(tmp_path / name)
        write(tmp_path / name / name, lines)
        tables.append(prepared(tmp_path / name, spec)[1])
    assert tables[0] == tables[1]
    assert len(tables[0]) == 8


def test_numbers_and_categories_of_parquet_are_text(tmp_path: Path) -> None:
    lines = [row(n, label=n % 2, fold=float(n % 3), split=None, speaker=n) for n in range(8)]
    write_parquet(tmp_path / "raw" / "manifest.parquet", lines)
    record, found = prepared(tmp_path / "raw", TEXT.model_copy(update={"folds": 3}))
    assert record.info["labels"] == ["0", "1"]
    assert [r["folds"].index("test") for r in found] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [r["speaker"] for r in found] == list("01234567")


@pytest.mark.parametrize("text", ["Ça va, “oui”?", "你好,世界", "  zwei\nZeilen ", "שלום"])
def test_text_of_any_language_is_kept_as_it_is(text: str, tmp_path: Path) -> None:
    _, found = prepared(write_tree(tmp_path / "raw", [row(0, text=text), *rows()[1:]]))
    assert found[0]["text"] == text


def test_folds_test_each_row_once_and_the_next_is_dev(tmp_path: Path) -> None:
    lines = [row(n, fold=n % 4, split=None) for n in range(8)]
    record, found = prepared(write_tree(tmp_path / "raw", lines), TEXT.model_copy(update={"folds": 4}))
    assert record.rows == {"all": 8}
    assert found[0]["folds"] == ["test", "train", "train", "dev"]
    assert found[1]["folds"] == ["dev", "test", "train", "train"]
    assert [r["split"] for r in found] == [r["folds"][0] for r in found]


def test_a_dialogue_is_its_rows_in_their_order(tmp_path: Path) -> None:
    lines = [row(n, dialogue="ab"[n % 2] if n < 4 else None) for n in range(8)]
    _, found = prepared(write_tree(tmp_path / "raw", lines))
    assert [(r["dialogue"], r["turn"], r["text"]) for r in found[:4]] == [
        ("a", 0, "Line 0."), ("a", 1, "Line 2."), ("b", 0, "Line 1."), ("b", 1, "Line 3."),
    ]  # fmt: skip


def test_parts_of_a_recording_are_cut_out(tmp_path: Path) -> None:
    lines = [row(n, audio="long.wav", start=n / 2, end=(n + 1) / 2 if n < 7 else None) for n in range(8)]
    lines[6] |= {"start": 9, "end": 10}
    root = write_tree(tmp_path / "raw", lines)
    write_sound(root / "long.wav", 4.0)
    record, found = prepared(root, ManifestSpec())
    assert [r["seconds"] for r in found] == [0.5] * 6 + [0.0, 0.5]
    assert problem_table(record).problems[0].reason == "the file ends before 9 s"
    assert [c.faulty for c in problem_table(record).counts] == [0, 0, 1]


def test_a_file_that_ends_before_its_part_is_remarked_upon(tmp_path: Path) -> None:
    record, _ = prepared(write_tree(tmp_path / "raw", [row(0, end=0.9), *rows()[1:]]), ManifestSpec())
    assert [(r.uid, r.reason) for r in problem_table(record).remarks] == [
        ("row-2", "the file ends 0.40 s before its end")
    ]


def test_absent_and_broken_files_are_their_rows_status(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw", [row(0, audio=""), *rows()[1:]])
    (root / "clips" / "5.wav").unlink()
    (root / "clips" / "6.wav").write_bytes(b"no sound")
    record, found = prepared(root, ManifestSpec())
    shown = problem_table(record)
    assert {p.uid: p.status for p in shown.problems} == {
        "row-2": "missing_media", "row-7": "missing_media", "row-8": "decode_error",
    }  # fmt: skip
    assert [p.reason for p in shown.problems][:2] == ["its row names no file", "there is no file 5.wav"]
    assert [(c.split, c.faulty, c.expected) for c in shown.counts] == [
        ("train", 1, None), ("dev", 1, None), ("test", 1, None),
    ]  # fmt: skip
    assert len(found) == 8


def test_votes_are_shares(tmp_path: Path) -> None:
    lines = [row(n, **{"votes.cross": 3, "votes.calm": 1}) for n in range(8)]
    lines[1] |= {"votes.cross": "", "votes.calm": ""}
    lines[2] |= {"votes.cross": 0.25, "votes.calm": ""}
    _, found = prepared(write_tree(tmp_path / "raw", lines), TEXT.model_copy(update={"votes": True}))
    assert [r["votes"] for r in found[:3]] == [[0.25, 0.75], None, [0.0, 1.0]]
    _, found = prepared(tmp_path / "raw", TEXT)
    assert {r["votes"] for r in found} == {None}


def test_the_labels_are_in_the_specs_order(tmp_path: Path) -> None:
    spec = TEXT.model_copy(update={"labels": ("cross", "calm", "gleeful")})
    record, _ = prepared(write_tree(tmp_path / "raw"), spec)
    assert record.info["labels"] == ["cross", "calm", "gleeful"]


@pytest.mark.parametrize(
    ("speakers", "disjoint", "remark"),
    [
        ("aaaabbcc", ["train", "dev", "test"], None),
        ("aaaabbca", ["dev"], "1 speaker of test speaks in train or dev too, as a"),
        ("abababab", [], "2 speakers of test speak in train or dev too, as a"),
        ("aaaabacc", ["test"], None),
    ],
)
def test_speakers_of_test_heard_before_are_remarked_upon(
    speakers: str, disjoint: list[str], remark: str | None, tmp_path: Path
) -> None:
    lines = [row(n, speaker=speaker) for n, speaker in enumerate(speakers)]
    record, _ = prepared(write_tree(tmp_path / "raw", lines))
    assert record.info["speaker_disjoint"] == disjoint
    told = [found.reason.partition(":")[0] for found in problem_table(record).remarks]
    assert told == ([remark] if remark else [])


def test_a_row_may_have_several_labels_or_none(tmp_path: Path) -> None:
    cells = ["joy", "joy|fear", "", " fear | joy ", "sad", "", "fear", "sad|joy"]
    lines = [row(n, label=cell) for n, cell in enumerate(cells)]
    spec = TEXT.model_copy(update={"several": True})
    record, found = prepared(write_tree(tmp_path / "raw", lines), spec)
    assert record.info["labels"] == ["fear", "joy", "sad"]
    assert record.info["multi_label"] is True
    assert [r["targets"] for r in found[:4]] == [[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 1, 0]]
    assert [r["label"] for r in found] == ["joy", "fear+joy", "", "fear+joy", "sad", "", "fear", "joy+sad"]


FOLDS = ManifestSpec(modalities=("text",), folds=3)
VOTES = ManifestSpec(modalities=("text",), votes=True)
NAMED = ManifestSpec(modalities=("text",), labels=("calm", "cross"))
PICTURES = ManifestSpec(modalities=("visual",))
FREE = ManifestSpec(modalities=("text",), several=True)
SEVERAL = ManifestSpec(modalities=("text",), labels=("calm", "cross"), several=True)


def folded(**changes: Any) -> list[Row]:
    """`changes` are of the second row, row 3 of the sheet."""
    lines = [row(n, fold=n % 3, split=None) for n in range(8)]
    lines[1] |= changes
    return lines


def changed(**changes: Any) -> list[Row]:
    """As `folded`, with the official split; a column that is new is empty elsewhere."""
    lines = [dict.fromkeys(changes, "") | line for line in rows()]
    lines[1] |= changes
    return lines


@pytest.mark.parametrize(
    ("lines", "spec", "told"),
    [
        (rows(label=None), TEXT, "no column 'label', the class of the row; its header is audio, text, split"),
        (rows(text=None), TEXT, "no column 'text', which modality text reads; its header is audio, label, split"),
        (rows(audio=None), SOUND, "no column 'audio', which modality audio reads; its header is text, label,"),
        (rows(split=None), TEXT, "no column 'split', which folds: 0 reads; its header is audio, text, label"),
        (rows(), FOLDS, "no column 'fold', which folds: 3 reads (it has 'split': is folds: 3 right?)"),
        (folded(), TEXT, "no column 'split', which folds: 0 reads (it has 'fold': is folds: 0 right?)"),
        (rows(), VOTES, "no column 'votes.calm', which votes: true reads, nor of another label"),
        (changed(split="valid"), TEXT, "row 3: split 'valid'; splits are train, dev, test"),
        (rows(split="train"), TEXT, "no row has split dev; 3 are wanted"),
        (folded(fold="3"), FOLDS, "row 3: fold '3'; with folds: 3 they are 0 to 2"),
        (folded(fold="-1"), FOLDS, "row 3: fold '-1' is not a number from 0"),
        (folded(fold="1.5"), FOLDS, "row 3: fold '1.5'; with folds: 3 they are 0 to 2"),
        (folded(fold=""), FOLDS, "row 3: fold ''; with folds: 3 they are 0 to 2"),
        (folded()[:2], FOLDS, "no row has fold 2; 3 are wanted"),
        (changed(label="joy"), NAMED, "row 3: label 'joy'; labels are calm, cross"),
        (changed(label=""), TEXT, "row 3: label ''; every row has one"),
        (rows(label="calm"), TEXT, "every label is 'calm'; there is nothing to tell apart"),
        ([row(n, uid=n % 7) for n in range(8)], TEXT, "row 9: uid '0' is row 2's already"),
        ([row(n, dialogue=n % 5) for n in range(8)], TEXT,
         "row 7: dialogue '0' is in another split in row 2; a dialogue lies in one split"),
        (changed(start="soon"), SOUND, "row 3: start 'soon' is not a number from 0"),
        (changed(end="nan"), SOUND, "row 3: end 'nan' is not a number from 0"),
        (changed(start="2", end="1.5"), SOUND, "row 3: end 1.5 s is not after start 2 s"),
        (changed(**{"votes.calm": "-2"}), VOTES, "row 3: votes.calm '-2' is not a number from 0"),
        (changed(label="calm|joy"), SEVERAL, "row 3: label 'joy'; labels are calm, cross"),
        (changed(label="calm||cross"), SEVERAL, "row 3: label ''; labels are calm, cross"),
        (rows(label=""), FREE, "every label is empty; there is nothing to learn"),
        (rows(audio=None), PICTURES, "no column 'video', nor 'audio', one of which modality visual reads; its"),
        (changed(**{"votes.joy": "1"}), VOTES, "column 'votes.joy'; labels are calm, cross"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_fault_is_told_with_the_row_and_the_value(
    lines: list[Row], spec: ManifestSpec, told: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / "raw" / f"manifest.{suffix}"
    text = [{name: str(value) for name, value in line.items()} for line in lines]
    {"csv": write_csv, "parquet": write_parquet}[suffix](path, text)
    assert re.match(rf"{re.escape(str(path))}: {re.escape(told)}", fault(path.parent, spec))


@pytest.mark.parametrize("named", ["../9.wav", "clips/../../9.wav", "/etc/passwd", "{raw}-other/9.wav"])
def test_no_file_outside_the_manifests_folder_is_read(named: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw")
    named = named.format(raw=root)
    write_csv(root / "manifest.csv", [row(0), row(1, audio=named), *rows()[2:]])
    told = f"{root / 'manifest.csv'}: row 3: audio {named!r} is outside {root}; put the manifest above its files"
    assert fault(root, SOUND) == told
    with pytest.raises(CorpusError, match="is outside"):
        ManifestImporter().source_digest(SOUND, root)


@pytest.mark.parametrize("named", ["clips/../clips/1.wav", "./clips/1.wav", "{raw}/clips/1.wav"])
def test_a_file_inside_may_be_named_as_one_likes(named: str, tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw")
    write_csv(root / "manifest.csv", [row(0), row(1, audio=named.format(raw=root)), *rows()[2:]])
    record, _ = prepared(root, SOUND)
    assert record.info["problems"] == []


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"label,text,split\ncalm,caf\xe9,train\n", "manifest.csv: line 2: not UTF-8; save it again as UTF-8"),
        (b"label,text,split\ncalm,a, b,train\n", "manifest.csv: row 2: 4 cells under 3 columns"),
        (b"label,text,split\ncalm\n", "manifest.csv: row 2: 1 cell under 3 columns"),
        (b'label,text,split\ncalm,"a,train\n', "manifest.csv: line 2: unexpected end of data"),
        (b"label;text;split\ncalm;a;train\n", "manifest.csv: no column 'label', the class of the row; its"),
        (b"label,text,split\n", "manifest.csv: no rows below its header"),
        (b"", "manifest.csv: no rows below its header"),
        (b"label,text,split,label\ncalm,a,train,calm\n", "manifest.csv: column 'label' is there twice"),
    ],
)  # fmt: skip
def test_what_is_no_csv_is_told_so(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "manifest.csv").write_bytes(data)
    assert fault(tmp_path / "raw").startswith(f"{tmp_path / 'raw'}/{told}")


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "raw")
    path = root / "manifest.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert sum(prepared(root)[0].rows.values()) == 8


def test_what_is_no_parquet_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "manifest.parquet"
    path.parent.mkdir()
    path.write_bytes(b"PAR1 or not")
    assert fault(path).startswith(f"{path}: not Parquet: ")
    write_parquet(path, [row(n, audio={"bytes": b"", "path": "a"}) for n in range(8)])
    assert fault(path, SOUND) == f"{path}: row 2: audio is a dict; text or a number is wanted"


def test_where_there_is_no_manifest_the_way_out_is_told(tmp_path: Path) -> None:
    assert "neither manifest.csv nor manifest.parquet is in it" in fault(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert fault(tmp_path / "notes.txt").endswith("a manifest is a .csv or a .parquet file")
    write_csv(tmp_path / "manifest.csv", rows())
    write_parquet(tmp_path / "manifest.parquet", rows())
    assert "both manifest.csv and manifest.parquet are in it" in fault(tmp_path)
    with pytest.raises(CorpusError, match="ORCH_CORPORA__MANIFEST"):
        ManifestImporter().source_digest(TEXT, None)


@pytest.mark.parametrize("spec", [SOUND, TEXT], ids=["with audio", "text alone"])
@pytest.mark.parametrize(
    ("change", "of_text"),
    [
        (lambda root: write_sound(root / "clips" / "0.wav", 0.7), False),
        (lambda root: (root / "clips" / "0.wav").unlink(), False),
        (lambda root: write_csv(root / "manifest.csv", rows()[::-1]), True),
    ],
    ids=["another length", "no file", "another order"],
)
def test_the_digest_is_of_the_manifest_and_its_files_wherever_they_lie(
    change: Callable[[Path], object], of_text: bool, spec: ManifestSpec, tmp_path: Path
) -> None:
    root = write_tree(tmp_path / "raw")
    first = ManifestImporter().source_digest(spec, root)
    moved = Path(shutil.copytree(root, tmp_path / "moved"))
    write_sound(moved / "clips" / "unnamed.wav")
    assert ManifestImporter().source_digest(spec, moved) == first
    change(moved)
    assert (ManifestImporter().source_digest(spec, moved) != first) == (of_text or spec is SOUND)
