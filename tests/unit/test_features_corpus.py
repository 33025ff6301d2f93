"""A corpus of vectors: what its files may look like, what is padding, and every fault as a sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.helpers.feature_trees import Arrays, arrays, sequences, write_hdf5, write_npz
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError, UserError
from trainables.importers import files
from trainables.importers.features import FeaturesImporter
from trainables.importers.features_names import Name, parse
from trainables.importers.features_streams import spans_of
from trainables.prepare import prepare, problem_table
from trainables.spec import FeaturesCorpusSpec
from trainables.storage import Storage

SPEC = FeaturesCorpusSpec()
AUDIO = FeaturesCorpusSpec(modalities=("audio",))
hdf5 = pytest.mark.skipif(find_spec("h5py") is None, reason="HDF5 is read by h5py, of the extra 'hdf5'")


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: FeaturesCorpusSpec = SPEC) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def told(folder: Path, spec: FeaturesCorpusSpec = SPEC, **changes: Any) -> str:
    """The remarks of the faultless file with these changes."""
    record, _ = prepared(write_npz(folder / "a.npz", arrays(**changes)), spec)
    return "\n".join(remark.reason for remark in problem_table(record).remarks)


def fault(root: Path, spec: FeaturesCorpusSpec = SPEC) -> str:
    with pytest.raises(CorpusError) as raised:
        prepared(root, spec)
    return str(raised.value)


def fault_of(folder: Path, spec: FeaturesCorpusSpec = SPEC, **changes: Any) -> str:
    return fault(write_npz(folder / "a.npz", arrays(**changes)), spec)


def vectors(row: dict[str, Any], modality: str, width: int) -> list[list[float]]:
    return np.array(row[f"{modality}_vectors"]).reshape(-1, width).round(4).tolist()


def test_the_arrays_become_the_rows(tmp_path: Path) -> None:
    record, rows = prepared(write_npz(tmp_path / "a.npz"))
    assert record.rows == {"train": 6, "dev": 4, "test": 4}
    assert record.info["labels"] == ["0", "1"]
    assert record.info["widths"] == {"audio": 3, "visual": 2}
    assert record.info["speaker_disjoint"] == []
    assert problem_table(record).aligned == {}
    assert [row["uid"] for row in rows[:2]] == ["train-0", "train-1"] == [row["dialogue"] for row in rows[:2]]
    assert [row["label"] for row in rows] == ["0", "1"] * 7
    assert vectors(rows[1], "audio", 3) == [[111, 112, 113], [121, 122, 123], [131, 132, 133], [141, 142, 143]]
    assert vectors(rows[6], "visual", 2) == [[0.011, 0.012], [0.021, 0.022], [0.031, 0.032], [0.041, 0.042]]
    for row in rows:
        assert (row["status"], row["reason"], row["text"], row["speaker"]) == ("ok", "", "", "unknown")
        assert (row["seconds"], row["audio"], row["images"], row["text_vectors"]) == (0, None, None, None)
    assert problem_table(record).remarks == ()


def own_name(name: str, split: str) -> str:
    return "_".join(word for word in name.split("_") if word != split)


@hdf5
def test_every_layout_gives_the_same_rows(tmp_path: Path) -> None:
    found = arrays()
    by_split: dict[str, Arrays] = {split: {} for split in ("train", "valid", "test")}
    for name, values in found.items():
        split = next(split for split in by_split if split in name)
        by_split[split][own_name(name, split)] = values
        write_hdf5(tmp_path / "mfn" / f"{name}.h5", {"data": values})
    for split, own in by_split.items():
        write_npz(tmp_path / "splits" / f"{split}.npz", own)
        write_hdf5(tmp_path / "mixed" / f"{split}.hdf5", own)
    groups = {f"{split}/{name}": values for split, own in by_split.items() for name, values in own.items()}
    places = [
        write_npz(tmp_path / "one" / "mosi.npz"),
        (tmp_path / "one"),
        write_hdf5(tmp_path / "groups.h5", groups),
        tmp_path / "mfn",
        tmp_path / "splits",
        tmp_path / "mixed",
    ]
    tables = [prepared(place)[1] for place in places]
    assert len(tables[0]) == 14
    for place, table in zip(places, tables, strict=True):
        assert table == tables[0], place


@pytest.mark.parametrize(
    ("name", "split", "what"),
    [
        ("audio_train", "train", "audio"),
        ("COVAREP_valid", "dev", "audio"),
        ("text_test_emb", "test", "text"),
        ("train/vision", "train", "visual"),
        ("facet_val", "dev", "visual"),
        ("dev.openface", "dev", "visual"),
        ("y_test", "test", "labels"),
        ("train/train/labels", "train", "labels"),
        ("ids_train", "train", "ids"),
        ("test_speaker", "test", "speaker"),
    ],
)
def test_names_say_split_and_modality_in_any_order(name: str, split: str, what: str) -> None:
    found = parse(name, {})
    assert found is not None
    assert (found.split, found.what) == (split, what)


def test_lengths_are_of_a_modality_or_of_all() -> None:
    assert parse("audio_train_lengths", {}) == Name("train", "lengths", "audio")
    assert parse("train/lengths", {}) == Name("train", "lengths")


@pytest.mark.parametrize("name", ["audio", "X_train", "audio_train_mean", "train_test_audio", "weights_train", ""])
def test_what_is_named_otherwise_is_not_ours(name: str) -> None:
    assert parse(name, {}) is None


def test_a_modalitys_own_name_takes_the_place_of_the_others() -> None:
    own = {"visual": "face_units"}
    assert parse("train/Face_Units", own) == Name("train", "visual", "visual")  # type: ignore[arg-type]
    assert parse("facet_train", own) is None  # type: ignore[arg-type]


def padded(*steps: list[float]) -> Arrays:
    """Audio whose first row of test has these steps."""
    values = sequences(4, len(steps), 3)
    values[0] = steps
    return {"audio_test": values}


def test_zeros_in_front_and_behind_are_padding_and_those_between_are_steps(tmp_path: Path) -> None:
    zero, some, other = [0.0, 0, 0], [0.0, 2, 0], [3.0, 0, 1]
    changes = padded(zero, some, zero, other, zero, zero)
    _, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**changes)), AUDIO)
    assert vectors(rows[10], "audio", 3) == [some, zero, other]
    remark = told(tmp_path / "again", AUDIO, **changes)
    assert "audio: steps of zeros alone are cut as padding, in front of 1 row and behind 1" in remark


def test_a_single_step_stays(tmp_path: Path) -> None:
    changes = padded([0, 0, 0], [0, 5, 0], [0, 0, 0])
    _, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**changes)), AUDIO)
    assert vectors(rows[10], "audio", 3) == [[0, 5, 0]]


@pytest.mark.parametrize(("name", "dtype"), [("audio_test_lengths", "int64"), ("lengths_test", "float32")])
def test_lengths_say_what_is_padding(name: str, dtype: str, tmp_path: Path) -> None:
    changes = padded([0, 0, 0], [0, 1, 0], [0, 0, 0], [9, 9, 9])
    changes[name] = np.array([3, 4, 1, 0], dtype=dtype)
    record, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**changes)), AUDIO)
    assert vectors(rows[10], "audio", 3) == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert [len(row["audio_vectors"] or ()) // 3 for row in rows[10:]] == [3, 4, 1, 0]
    assert rows[13]["audio_vectors"] is None
    assert "cut as padding" not in str(record.info["remarks"])


def test_what_lies_beyond_a_length_is_not_there() -> None:
    """The second row has zeros alone within its length."""
    values = np.array([[[0], [1], [0]], [[0], [0], [7]], [[2], [0], [0]]], dtype=np.float32)
    assert spans_of(values, np.array([3, 2, 2])).tolist() == [[0, 3], [0, 0], [0, 2]]
    assert spans_of(values, None).tolist() == [[1, 2], [2, 3], [0, 1]]


def test_zeros_alone_are_a_missing_modality(tmp_path: Path) -> None:
    audio, video = sequences(6, 4, 3), sequences(6, 4, 2)
    audio[[1, 2]] = 0
    video[2] = 0
    root = write_npz(tmp_path / "a.npz", arrays(audio_train=audio, video_train=video))
    record, rows = prepared(root)
    assert [row["audio_vectors"] is None for row in rows[:4]] == [False, True, True, False]
    assert [row["visual_vectors"] is None for row in rows[:4]] == [False, False, True, False]
    assert {row["status"] for row in rows} == {"ok"}
    remarks = [remark.reason for remark in problem_table(record).remarks]
    assert "2 of 14 rows have no audio vectors, only zeros (2 in train)" in remarks
    assert "1 of 14 rows have no visual vectors, only zeros (1 in train)" in remarks
    assert "1 of 14 rows have no vectors at all: nothing can be known of them (1 in train)" in remarks


def test_what_is_not_finite_is_0_and_counted(tmp_path: Path) -> None:
    values = sequences(6, 4, 3).astype(np.float64)
    values[0, 0] = [np.nan, np.inf, 7]
    values[3, 1] = [-np.inf, 1e300, np.nan]  # 1e300 is no float32
    values[4] = np.nan
    _, rows = prepared(write_npz(tmp_path / "a.npz", arrays(audio_train=values)), AUDIO)
    assert vectors(rows[0], "audio", 3)[0] == [0, 0, 7]
    assert vectors(rows[3], "audio", 3)[1] == [0, 0, 0]
    assert rows[4]["audio_vectors"] is None
    remark = told(tmp_path / "again", AUDIO, audio_train=values)
    assert "audio: numbers that are not finite, 14 NaN and 3 infinite, in 3 rows, are read as 0" in remark


def test_a_column_that_is_constant_in_train_is_0_everywhere(tmp_path: Path) -> None:
    """Padding does not hide it, and another value in test would else be infinitely many deviations away."""
    values = sequences(6, 4, 3)
    values[:, :, 1] = 0.25
    values[2, 2:] = 0
    root = write_npz(tmp_path / "a.npz", arrays(audio_train=values))
    record, rows = prepared(root, AUDIO)
    assert {step[1] for row in rows for step in vectors(row, "audio", 3)} == {0}
    assert [len(row["audio_vectors"]) // 3 for row in rows[:4]] == [4, 4, 2, 4]
    remark = "audio: 1 column of 3 (1) is constant in train, and read as 0 everywhere"
    assert remark in [remark.reason for remark in problem_table(record).remarks]


def test_a_vector_a_row_is_one_step(tmp_path: Path) -> None:
    flat = {
        f"audio_{split}": sequences(rows, 1, 3)[:, 0] for split, rows in (("train", 6), ("valid", 4), ("test", 4))
    }
    _, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**flat)), AUDIO)
    assert vectors(rows[1], "audio", 3) == [[111, 112, 113]]


@pytest.mark.parametrize(
    ("changes", "spec", "message"),
    [
        ({"video_train": None}, SPEC, "no array visual_train, only for dev and test, which modality visual reads; "
         "read what is there for every split: corpus.modalities: [audio]"),
        ({}, FeaturesCorpusSpec(modalities=("text",)), "no array text_train, which modality text reads; read "
         "what is there for every split: corpus.modalities: [audio, visual]"),
        ({"y_valid": None}, SPEC, "no labels of split dev, as y_dev; arrays are audio_test, audio_train"),
        ({"audio_test": sequences(3, 4, 3)}, SPEC, "a.npz: audio_test has 3 rows, and "),
        ({"audio_test": sequences(4, 4, 2)}, SPEC, "audio_test is 2 wide, and "),
        ({"audio_test": np.zeros((4, 4, 0))}, SPEC, "audio_test: float64 of shape [4, 4, 0]; numbers of [rows, "),
        ({"audio_test": np.zeros((4, 4, 3), dtype="U1")}, SPEC, "audio_test: <U1 of shape [4, 4, 3]; numbers of"),
        ({"y_test": np.zeros(0)}, SPEC, "y_test: shape [0]; a label a row is wanted"),
        ({"audio_test_lengths": np.array([1, 2, 3, 5])}, SPEC, "test_lengths: row 3: 5 steps, of an array of 4"),
        ({"audio_test_lengths": np.array([1, 2, -1, 4])}, SPEC, "audio_test_lengths: row 2: -1 steps"),
        ({"audio_test_lengths": np.array([1, 2, 1.5, 4])}, SPEC, "audio_test_lengths: row 2: 1.5 steps"),
        ({"audio_test_lengths": np.array([1, 2])}, SPEC, "a number of steps for each of 4 rows is wanted"),
        ({"covarep_test": sequences(4, 4, 3)}, SPEC, "are both audio of test; say which in corpus.names, as "),
        ({"labels_test": np.zeros(4)}, SPEC, "are both labels of test; keep one of them"),
        ({"ids_test": np.array(["a", "b", "a", "c"])}, SPEC, "ids_test: row 2: 'a' is row 0's already"),
        ({"ids_test": np.array(["a", "b"])}, SPEC, "<U1 of shape [2]; a name for each of 4 rows is wanted"),
    ],
    ids=lambda value: "" if isinstance(value, FeaturesCorpusSpec) else None,
)  # fmt: skip
def test_arrays_that_do_not_fit_are_named(
    changes: dict[str, Any], spec: FeaturesCorpusSpec, message: str, tmp_path: Path
) -> None:
    found = fault_of(tmp_path, spec, **changes)
    assert message in found
    assert "a.npz" in found


def test_without_any_array_of_ours_they_are_listed(tmp_path: Path) -> None:
    """As MFN's files of CMU-MOSI: one array of all modalities a split."""
    for split in ("train", "valid", "test"):
        write_npz(tmp_path / "mosi" / f"X_{split}.npz", {"data": sequences(4, 4, 3)})
        write_npz(tmp_path / "mosi" / f"y_{split}.npz", {"data": np.arange(4)})
    message = fault(tmp_path / "mosi")
    assert (
        "no array audio_train, which modality audio reads; name it so, or by corpus.names; arrays are X_te"
        in message
    )


def test_one_of_several_arrays_is_chosen_by_name(tmp_path: Path) -> None:
    more = {f"covarep_{split}": sequences(rows, 2, 1) for split, rows in (("train", 6), ("valid", 4), ("test", 4))}
    root = write_npz(tmp_path / "a.npz", arrays(**more))
    record, rows = prepared(root, FeaturesCorpusSpec(names={"audio": "covarep"}))
    assert record.info["widths"] == {"audio": 1, "visual": 2}
    assert vectors(rows[0], "audio", 1) == [[11], [21]]
    assert "3 arrays not read: audio_" in str(record.info["remarks"])


ONE_HOT = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize(
    ("test", "spec", "labels"),
    [
        (np.array([1, 0, 1, 1]), {"labels": ("cross", "calm")}, ["calm", "cross", "calm", "calm"]),
        (np.array([1.0, 0, 1, 1]).reshape(4, 1, 1), {}, ["1", "0", "1", "1"]),
        (np.array([True, False, False, False]), {}, ["1", "0", "0", "0"]),
        (np.array(["0", "1", "1", "0"]), {"labels": ("0", "1")}, ["0", "1", "1", "0"]),
        (np.array([1.0, 2.5, 2.49, 5]), {"labels": ("a", "b"), "thresholds": (2.5,)}, ["a", "b", "a", "b"]),
        (np.array([-1.0, 0, 0.5, 9]), {"labels": ("a", "b", "c"), "thresholds": (0, 0.5)}, ["a", "b", "c", "c"]),
    ],
    ids=["numbers", "numbers as floats", "booleans", "names", "one threshold", "two thresholds"],
)  # fmt: skip
def test_labels_are_names_numbers_or_classes_of_numbers(
    test: Any, spec: dict[str, Any], labels: list[str], tmp_path: Path
) -> None:
    changes: Arrays = {"y_test": test}
    if test.dtype.kind == "U":
        changes |= {f"y_{split}": np.arange(n).astype(str) for split, n in (("train", 2), ("valid", 2))}
        changes |= {
            f"{m}_{s}": sequences(2, 4, w) for s in ("train", "valid") for m, w in (("audio", 3), ("video", 2))
        }
    record, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**changes)), FeaturesCorpusSpec(**spec))
    assert [row["label"] for row in rows if row["split"] == "test"] == labels
    assert record.info["labels"] == list(spec.get("labels", ("0", "1")))
    assert not record.info["multi_label"]


def of_every_split(one: Any) -> Arrays:
    return {"y_train": np.concatenate([one, one[:2]]), "y_valid": one, "y_test": one}


def test_one_hot_columns_are_the_labels_in_order(tmp_path: Path) -> None:
    root = write_npz(tmp_path / "a.npz", arrays(**of_every_split(ONE_HOT)))
    _, rows = prepared(root, FeaturesCorpusSpec(labels=("a", "b", "c")))
    assert [row["label"] for row in rows if row["split"] == "test"] == ["b", "a", "c", "b"]
    record, rows = prepared(root)
    assert record.info["labels"] == ["0", "1", "2"]
    assert rows[0]["targets"] is None


def test_of_several_labels_each_has_its_column(tmp_path: Path) -> None:
    several = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]], dtype=np.float64)
    root = write_npz(tmp_path / "a.npz", arrays(**of_every_split(several)))
    record, rows = prepared(root, FeaturesCorpusSpec(labels=("joy", "fear", "anger"), several=True))
    assert record.info["multi_label"]
    assert [row["targets"] for row in rows if row["split"] == "test"] == several.tolist()
    assert [row["label"] for row in rows if row["split"] == "test"] == ["fear+anger", "", "joy+anger", "fear"]


@pytest.mark.parametrize(
    ("test", "spec", "message"),
    [
        (np.array([0, 1, 2, 0]), {"labels": ("a", "b")}, "y_test: row 2: label 2; the 2 labels are numbered 0 "),
        (np.array([0, -1, 1, 0]), {"labels": ("a", "b")}, "y_test: row 1: label -1"),
        (np.array([0, 1, 2.5, 0]), {}, "y_test: row 2: 2.5 is no number of a class; to make classes "),
        (np.array([0, 1, np.nan, 0]), {}, "y_test: row 2: nan is no number of a class"),
        (np.array([0, np.nan, 1, 0]), {"labels": ("a", "b"), "thresholds": (1,)}, "y_test: row 1: NaN is in no "),
        (ONE_HOT, {"labels": ("a", "b"), "thresholds": (1,)}, "thresholds part one number a row"),
        (ONE_HOT, {}, "y_train: int64 of shape [6]; [rows, 2] of 0 and 1, a column a label, is wanted"),
        (np.array([0, 1, 1, 0]), {"several": True}, "of 0 and 1, a column a label, is wanted"),
        (np.zeros((4, 2, 3)), {}, "y_test: float64 of shape [4, 2, 3]; a label a row is wanted"),
        (np.array(["a", "b", "c", "a"]), {"labels": ("0", "1")}, "y_test: row 0: label 'a'; labels are 0, 1"),
        (np.array(["a", "b", "b", "a"]), {"labels": ()}, "y_train: int64, and another split has names"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_are_named(test: Any, spec: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in fault_of(tmp_path, FeaturesCorpusSpec(**{"labels": ("0", "1"), **spec}), y_test=test)


@pytest.mark.parametrize(
    ("row", "several", "message"),
    [
        (
            [1, 1, 0],
            False,
            "y_test: row 0: [1, 1, 0] is not one-hot; for several labels a row, or none, set several",
        ),
        ([0, 0, 0], False, "[0, 0, 0] is not one-hot"),
        ([0, 0.5, 0.5], False, "[0, 0.5, 0.5] is not one-hot"),
        ([1, -1, 0], False, "[1, -1, 0] is not one-hot"),
        ([1, 2, 0], True, "y_test: row 0: [1, 2, 0]; with several: true each label is 0 or 1"),
        ([1, np.nan, 0], True, "[1, nan, 0]; with several: true each label is 0 or 1"),
    ],
)
def test_columns_that_cannot_be_are_named(row: list[float], several: bool, message: str, tmp_path: Path) -> None:
    test = ONE_HOT.astype(float)
    test[0] = row
    assert message in fault_of(
        tmp_path, FeaturesCorpusSpec(several=several), **(of_every_split(ONE_HOT) | {"y_test": test})
    )


def test_one_label_alone_is_nothing_to_tell_apart(tmp_path: Path) -> None:
    ones: dict[str, Any] = {
        f"y_{split}": np.ones(rows) for split, rows in (("train", 6), ("valid", 4), ("test", 4))
    }
    assert "every label is 1; there is nothing to tell apart" in fault_of(tmp_path, **ones)


def test_a_label_that_a_split_lacks_is_told(tmp_path: Path) -> None:
    spec = FeaturesCorpusSpec(labels=("low", "middle", "high"), thresholds=(0.5, 0.75))
    remarks = told(tmp_path, spec)
    assert [line for line in remarks.splitlines() if "no row of" in line] == [
        f"no row of {split} is 'middle'" for split in ("train", "dev", "test")
    ]


@pytest.mark.parametrize("write", [write_npz, pytest.param(write_hdf5, marks=hdf5)])
def test_rows_may_have_names_and_speakers(write: Callable[[Path, Arrays], Path], tmp_path: Path) -> None:
    names = {"ids_train": list("abcdef"), "ids_valid": ["g", "h", "i", "-j"], "ids_test": list("klma")}
    voices = {"speaker_train": list("112233"), "speaker_valid": list("4444"), "speaker_test": list("5553")}
    changes = {name: np.array(values) for name, values in (names | voices).items()}
    changes["speaker_train"] = changes["speaker_train"].astype(int)
    record, rows = prepared(write(tmp_path / ("a.npz" if write is write_npz else "a.h5"), arrays(**changes)))
    assert [row["uid"] for row in rows][8:11] == ["dev-i", "dev--j", "test-k"]
    assert [row["speaker"] for row in rows] == list("11223344445553")
    assert record.info["speaker_disjoint"] == ["dev"]
    remarks = [remark.reason for remark in problem_table(record).remarks]
    assert [remark.split(":")[0] for remark in remarks] == [
        "1 row of test has the name of a row of train or dev, as a",
        "1 speaker of test speaks in train or dev too, as 3",
    ]


def test_names_that_are_no_utf_8_are_read_all_the_same(tmp_path: Path) -> None:
    changes = {"ids_test": np.array([b"caf\xe9", b"b", b"c", b"d"]), "speaker_test": np.array([b"\xff"] * 4)}
    _, rows = prepared(write_npz(tmp_path / "a.npz", arrays(**changes)))
    assert [(row["uid"], row["speaker"]) for row in rows][10:12] == [
        ("test-caf\ufffd", "\ufffd"),
        ("test-b", "\ufffd"),
    ]


class Trap:
    """What a pickle may do to who reads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.marker,)


def test_arrays_of_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    marker = tmp_path / "sprung"
    ragged = np.array([Trap(marker), *sequences(3, 4, 3)[:, :2]][:1] + [None] * 3, dtype=object)
    root = write_npz(tmp_path / "a.npz", arrays(audio_test=ragged))
    message = fault(root)
    assert not marker.exists()
    assert (
        "a.npz: audio_test: an array of objects, as sequences of differing lengths make it, is a pickle" in message
    )
    assert "give how many steps each row has as <modality>_<split>_lengths" in message
    with np.load(root, allow_pickle=True) as file:
        file["audio_test"]
    assert marker.exists()  # it would have gone off


@hdf5
def test_sequences_of_differing_lengths_in_hdf5_are_refused_too(tmp_path: Path) -> None:
    import h5py

    root = write_hdf5(tmp_path / "a.h5", arrays(audio_test=None))
    with h5py.File(root, "a") as file:
        ragged = file.create_dataset("audio_test", (4,), dtype=h5py.vlen_dtype(np.float32))
        ragged[0] = [1, 2, 3]
    assert "a.h5: audio_test: an array of objects" in fault(root)


def test_without_h5py_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "a.h5"
    root.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"h5py, which is not installed: pip install 'orch\[hdf5\]'"):
        prepared(root)


def test_places_that_are_no_corpus_are_told(tmp_path: Path) -> None:
    assert "set ORCH_CORPORA__FEATURES" in _no_place(None)
    (tmp_path / "mosi.pkl").touch()
    assert "mosi.pkl: not a .npz, .h5 or .hdf5" in _no_place(tmp_path / "mosi.pkl")
    assert "are looked for; it has none" in _no_place(tmp_path)
    for name in ("mosi.npz", "mosei.npz", "._mosi.npz"):
        write_npz(tmp_path / name)
    assert "it has mosei.npz, mosi.npz; give the path of one" in _no_place(tmp_path)


def test_a_git_lfs_stub_is_told_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "mosi.npz").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "mosi.npz: the file is a Git-LFS stub" in _no_place(tmp_path / "mosi.npz")


def _no_place(root: Path | None) -> str:
    with pytest.raises(CorpusError) as raised:
        FeaturesImporter().source_digest(SPEC, root)
    return str(raised.value)


@pytest.mark.parametrize("name", ["a.npz", pytest.param("a.h5", marks=hdf5)])
def test_a_file_that_is_cut_short_is_told(name: str, tmp_path: Path) -> None:
    root = (write_npz if name == "a.npz" else write_hdf5)(tmp_path / name)
    root.write_bytes(root.read_bytes()[:1000])
    assert f"{name}: cannot be read as {name[2:]}" in fault(root)


def test_a_broken_array_is_named(tmp_path: Path) -> None:
    root = write_npz(tmp_path / "a.npz")
    data = bytearray(root.read_bytes())
    at = data.index(sequences(6, 4, 3).tobytes())
    data[at : at + 4] = b"\xff" * 4
    root.write_bytes(data)
    assert "a.npz: audio_train: cannot be read (" in fault(root)


def test_the_digest_is_of_what_is_in_the_arrays(tmp_path: Path) -> None:
    first = write_npz(tmp_path / "a.npz")
    (tmp_path / "other").mkdir()
    same: dict[str, Any] = dict(arrays())
    np.savez_compressed(tmp_path / "other" / "b.npz", **same)
    changed = arrays()
    changed["audio_test"][0, 0, 0] += 1
    found = [
        FeaturesImporter().source_digest(SPEC, root)
        for root in (first, tmp_path / "other", write_npz(tmp_path / "c.npz", changed))
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_the_digest_loads_nothing_heavy(tmp_path: Path) -> None:
    root = write_npz(tmp_path / "a.npz")
    script = (
        "import sys\nfrom pathlib import Path\nfrom trainables.importers import IMPORTERS\n"
        "from trainables.spec import FeaturesCorpusSpec\n"
        f"print(IMPORTERS['features'].source_digest(FeaturesCorpusSpec(), Path({str(root)!r})))\n"
        "print(*sorted({'h5py', 'numpy', 'pyarrow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [FeaturesImporter().source_digest(SPEC, root), ""]


@pytest.mark.parametrize("at", [0, 7, 1, -1])
def test_the_digest_of_a_large_hdf5_file_is_of_blocks(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten bytes three blocks of two: 0 and 1, 4 and 5, 8 and 9."""
    monkeypatch.setattr(files, "BLOCK", 2)
    monkeypatch.setattr(files, "WHOLE_BLOCKS", 3)
    root = tmp_path / "a.h5"
    digests: list[str] = []
    for data in (bytearray(10), bytearray(10)):
        data[at] = len(digests)
        root.write_bytes(data)
        digests.append(FeaturesImporter().source_digest(SPEC, root))
    assert (digests[0] == digests[1]) == (at == 7)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"alignment": {"type": "proportional"}}, "vectors have no words in time"),
        ({"several": True, "thresholds": (1,), "labels": ("a", "b")}, "drop either"),
        ({"names": {"audio": ""}}, "at least 1 character"),
        ({"labels": ("a", "b", "a"), "thresholds": (1, 2)}, "a is named twice; name each class once"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FeaturesCorpusSpec(**fields)
