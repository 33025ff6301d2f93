"""EmoDB and RAVDESS as they were recorded, beside the repository where they are to be had."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from trainables.artifacts import Record
from trainables.corpus import SPLITS, read_table
from trainables.prepare import prepare, problem_table
from trainables.spec import CorpusSpec, EmoDBSpec, RavdessSpec
from trainables.storage import Storage

DATA = Path(__file__).parents[2].parent / "shared" / "data"
needs_emodb = pytest.mark.skipif(not (DATA / "emodb").is_dir(), reason="EmoDB is not beside the repository")
needs_ravdess = pytest.mark.skipif(not (DATA / "ravdess").is_dir(), reason="RAVDESS is not beside the repository")


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(folder: Path, spec: CorpusSpec, root: Path) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(folder / "store"))
    record = prepare(storage, spec, root, 2, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def speakers(rows: list[dict[str, Any]], fold: int, split: str) -> set[str]:
    return {row["speaker"] for row in rows if row["folds"][fold] == split}


def assert_folds_are_by_speaker(rows: list[dict[str, Any]], folds: int) -> None:
    for fold in range(folds):
        by = [speakers(rows, fold, split) for split in SPLITS]
        assert sum(map(len, by)) == len(set().union(*by))
        assert all(by)
    assert all(row["folds"].count("test") == row["folds"].count("dev") == 1 for row in rows)


@pytest.fixture(scope="module")
def emodb(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, list[dict[str, Any]]]:
    if not (DATA / "emodb").is_dir():
        pytest.skip("EmoDB is not beside the repository")
    return prepared(tmp_path_factory.mktemp("emodb"), EmoDBSpec(), DATA / "emodb")


def test_emodb_has_its_counts_and_its_folds(emodb: tuple[Record, list[dict[str, Any]]]) -> None:
    record, rows = emodb
    shown = problem_table(record)
    assert shown.complete
    assert [(c.split, c.rows, c.expected) for c in shown.counts] == [("all", 535, 535)]
    assert Counter(row["label"] for row in rows) == {
        "anger": 127, "boredom": 81, "disgust": 46, "fear": 69, "happiness": 71, "sadness": 62, "neutral": 79,
    }  # fmt: skip
    assert len({row["text"] for row in rows}) == 10
    assert_folds_are_by_speaker(rows, 10)
    assert [len(speakers(rows, fold, "train")) for fold in range(10)] == [8] * 10


def test_emodbs_labels_cover_its_speech(emodb: tuple[Record, list[dict[str, Any]]]) -> None:
    """These files are cut at two seconds, and the labels are of the whole recordings."""
    record, rows = emodb
    assert {row["aligned"] for row in rows} == {"corpus"}
    assert not [row["uid"] for row in rows if not row["words"] or not row["syllables"]]
    assert [row["uid"] for row in rows if row["phones"] is None] == ["08a01Ab", "08a01Wa"]
    for row in rows:
        for tier in ("words", "syllables", "phones"):
            times = [time for segment in row[tier] or () for time in (segment["start"], segment["end"])]
            assert times == sorted(times)
            assert not times or times[-1] <= row["seconds"] + 1e-6
        said = " ".join(word["label"] for word in row["words"])
        assert row["text"].translate(str.maketrans("", "", ".,?")).startswith(said)
    told = [remark.reason for remark in problem_table(record).remarks]
    assert [reason for reason in told if "351 rows run past the end of their audio" in reason]
    whole = [row for row in rows if row["text"].count(" ") + 1 == len(row["words"])]
    assert 150 < len(whole) < 535


def test_emodbs_phones_sound_where_they_are_said_to(emodb: tuple[Record, list[dict[str, Any]]]) -> None:
    """Sibilants have their energy above 2.5 kHz and vowels below, if a label's time is its beginning."""
    _, rows = emodb
    shares: dict[bool, list[float]] = {True: [], False: []}
    for row in rows[::5]:
        samples, rate = soundfile.read(io.BytesIO(row["audio"]))
        for phone in row["phones"] or ():
            piece = samples[round(phone["start"] * rate) : round(phone["end"] * rate)]
            if phone["label"] in {"s", "S", "a", "aI", "o"} and len(piece) > 0.03 * rate:
                power = np.abs(np.fft.rfft(piece)) ** 2
                shares[phone["label"] in "sS"].append(float(power[len(piece) * 2500 // rate :].sum() / power.sum()))
    assert min(map(len, shares.values())) > 100
    assert np.median(shares[True]) > 0.8
    assert np.median(shares[False]) < 0.1


@needs_emodb
def test_the_original_layout_gives_the_same_rows(tmp_path: Path) -> None:
    """Folders `wav`, `lablaut`, `silb`: here as links, the sounds still FLAC."""
    for folder, name in {"flac": "wav", "lablaut": "lablaut", "silb": "silb", "labsilb": "labsilb"}.items():
        (tmp_path / "emodb" / name).mkdir(parents=True)
        for path in (DATA / "emodb" / folder).iterdir():
            (tmp_path / "emodb" / name / path.name).symlink_to(path)
    first, _ = prepared(tmp_path / "a", EmoDBSpec(modalities=("text",)), DATA / "emodb")
    second, _ = prepared(tmp_path / "b", EmoDBSpec(modalities=("text",)), tmp_path / "emodb")
    assert first.fingerprint == second.fingerprint
    assert first.files == second.files


@needs_ravdess
@pytest.mark.parametrize("protocol", ["five", "actor"])
def test_ravdess_has_its_counts_and_its_folds(protocol: str, tmp_path: Path) -> None:
    """With text alone for the second protocol: the sounds are the same."""
    spec = RavdessSpec.model_validate(
        {"protocol": protocol} | ({} if protocol == "five" else {"modalities": ("text",)})
    )
    record, rows = prepared(tmp_path, spec, DATA / "ravdess")
    shown = problem_table(record)
    assert shown.complete
    assert shown.remarks == ()
    assert [(c.split, c.rows, c.expected) for c in shown.counts] == [("all", 1440, 1440)]
    others = ("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
    assert Counter(row["label"] for row in rows) == {"neutral": 96} | dict.fromkeys(others, 192)
    assert Counter(row["speaker"] for row in rows) == {f"{actor:02d}": 60 for actor in range(1, 25)}
    assert_folds_are_by_speaker(rows, spec.fold_count)
    genders = record.info["genders"]
    assert all(len({genders[speaker] for speaker in speakers(rows, fold, "train")}) == 2 for fold in range(5))
