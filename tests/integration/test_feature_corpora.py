"""The features of Memory Fusion Networks (Zadeh et al., AAAI 2018), where they are beside the repository."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.artifacts import Record
from trainables.corpus import SPLITS, read_table
from trainables.errors import CorpusError
from trainables.prepare import prepare, problem_table
from trainables.spec import FeaturesCorpusSpec
from trainables.storage import Storage

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "mfn-trimodal"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="MFN's features are not beside the repository")

REVIEWS = FeaturesCorpusSpec(labels=("negative", "positive"), thresholds=(3.75,))


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(folder: Path, name: str, spec: FeaturesCorpusSpec) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(folder / "store"))
    record = prepare(storage, spec, DATA / name, 2, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def steps(rows: list[dict[str, Any]], modality: str, width: int) -> list[int]:
    return [len(row[f"{modality}_vectors"]) // width for row in rows]


def test_reviews_have_both_modalities_and_two_classes(tmp_path: Path) -> None:
    record, rows = prepared(tmp_path, "mmmo.npz", REVIEWS)
    assert record.rows == {"train": 220, "dev": 40, "test": 80}
    assert record.info["widths"] == {"audio": 74, "visual": 36}
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert [counts[split, "positive"] for split in SPLITS] == [120, 25, 51]
    assert problem_table(record).complete
    assert all(row["audio_vectors"] and row["visual_vectors"] for row in rows)


def test_their_padding_lies_at_either_end_and_is_cut_once(tmp_path: Path) -> None:
    """By an independent count over the raw arrays: steps from the first to the last with a number in it."""
    record, rows = prepared(tmp_path, "mmmo.npz", REVIEWS)
    with np.load(DATA / "mmmo.npz") as raw:
        for modality, name, width in (("audio", "audio", 74), ("visual", "video", 36)):
            found = iter(steps(rows, modality, width))
            for split in ("train", "valid", "test"):
                for sequence in raw[f"{name}_{split}"]:
                    there = [step for step, values in enumerate(sequence) if any(values)]
                    assert next(found) == there[-1] - there[0] + 1
            assert not list(found)
    remarks = [remark.reason.partition(";")[0] for remark in problem_table(record).remarks]
    assert remarks == [
        "audio: steps of zeros alone are cut as padding, in front of 45 rows and behind 92",
        "visual: steps of zeros alone are cut as padding, in front of 81 rows and behind 137",
    ]


def test_vectors_are_the_files_own(tmp_path: Path) -> None:
    _, rows = prepared(tmp_path, "mmmo.npz", REVIEWS)
    with np.load(DATA / "mmmo.npz") as raw:
        first = raw["audio_train"][0]
    kept = first[first.any(axis=1)]
    assert np.array_equal(np.array(rows[0]["audio_vectors"], dtype=np.float32).reshape(-1, 74), kept)


def test_most_opinions_of_youtube_have_no_vectors_and_that_is_told(tmp_path: Path) -> None:
    record, rows = prepared(tmp_path, "youtube.npz", FeaturesCorpusSpec(labels=("-", "0", "+")))
    assert record.rows == {"train": 173, "dev": 36, "test": 60}
    assert Counter(row["label"] for row in rows if row["split"] == "test") == {"-": 27, "0": 21, "+": 12}
    assert sum(row["audio_vectors"] is None for row in rows) == 191
    remarks = "\n".join(remark.reason for remark in problem_table(record).remarks)
    assert (
        "191 of 269 rows have no vectors at all: nothing can be known of them (125 in train, 29 in dev" in remarks
    )
    assert "audio: 2 columns of 74 (36, 37) are constant in train, and read as 0 everywhere" in remarks


@pytest.mark.parametrize("name", ["mmmo.npz", "youtube.npz"])
def test_text_is_there_for_dev_and_test_only(name: str, tmp_path: Path) -> None:
    spec = FeaturesCorpusSpec(modalities=("audio", "text", "visual"))
    with pytest.raises(CorpusError, match=r"no array text_train, only for dev and test.*: \[audio, visual\]"):
        prepared(tmp_path, name, spec)


def test_the_folder_of_both_asks_which(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"it has mmmo\.npz, youtube\.npz; give the path of one"):
        prepared(tmp_path, "", REVIEWS)
