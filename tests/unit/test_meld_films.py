"""Pictures of MELD's clips: beside the sound, alone, and where a clip has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.meld_trees import FOLDERS, row, tone, write_clip, write_csvs
from tests.helpers.videos import counting, number, write_video
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.importers.lfs import STUB, explain
from trainables.pictures import decode_images
from trainables.prepare import prepare, problem_table
from trainables.spec import MeldSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.storage import Storage

VISUAL = VisualSpec(size=32)
BOTH = MeldSpec(modalities=("audio", "text", "visual"), visual=VISUAL)
PICTURES = MeldSpec(modalities=("text", "visual"), visual=VISUAL)
ROWS = {
    "train": [row(0, n) for n in range(5)],
    "dev": [row(0, 0, Season="2")],
    "test": [row(0, 0, Season="3", StartTime="00:00:03,000", EndTime="00:00:03,000")],
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five films in train: the second is sound alone, the third absent, the fourth a stub, the fifth broken."""
    found = write_csvs(tmp_path / "meld", ROWS)
    for split, folder in FOLDERS.items():
        for n, _ in enumerate(ROWS[split]):
            write_video(found / folder / f"dia0_utt{n}.mp4", counting(25), sound=1.0)
    train = found / FOLDERS["train"]
    write_clip(train / "dia0_utt1.mp4", tone(1)[None])
    (train / "dia0_utt2.mp4").unlink()
    (train / "dia0_utt3.mp4").write_text("version https://git-lfs.github.com/spec/v1\n")
    (train / "dia0_utt4.mp4").write_bytes(b"no clip")
    return found


def ignore(done: int, total: int) -> None:
    assert done <= total


def prepared(root: Path, spec: MeldSpec, workers: int = 1) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(root.parent / f"store-{workers}"))
    record = prepare(storage, spec, root, workers, ignore)
    return record, read_table(storage, record.fingerprint).to_pylist()


def test_a_row_has_the_pictures_of_its_clip(root: Path) -> None:
    _, found = prepared(root, BOTH)
    assert [row["images"] is not None for row in found] == [True, False, False, False, False, True, True]
    assert [number(picture) for picture in decode_images(found[0]["images"])] == [0, 5, 10, 15, 20]
    assert [row["status"] for row in found] == [
        "ok", "ok", "missing_media", "lfs_stub", "decode_error", "ok", "zero_interval",
    ]  # fmt: skip
    assert [row["reason"] for row in found[:4]] == [
        "", "pictures: the file has no pictures", "there is no clip of this name", STUB,
    ]  # fmt: skip


def test_stubs_are_explained_once(root: Path) -> None:
    remarks = problem_table(prepared(root, BOTH)[0]).remarks
    told = [said.reason for said in remarks if "git lfs pull" in said.reason]
    assert told == [explain(1, 6, root)]


def test_pictures_without_sound_give_the_row_their_status(root: Path) -> None:
    record, found = prepared(root, PICTURES)
    assert {row["audio"] for row in found} == {None}
    assert [row["status"] for row in found] == [
        "ok", "no_video", "missing_media", "lfs_stub", "decode_error", "ok", "zero_interval",
    ]  # fmt: skip
    assert len(problem_table(record).problems) == 5


def test_reading_pictures_changes_nothing_of_the_sound(root: Path) -> None:
    _, heard = prepared(root, MeldSpec())
    _, both = prepared(root, BOTH)
    for one, other in zip(heard, both, strict=True):
        assert one["images"] is None
        assert {k: one[k] for k in one if k not in ("images", "reason")} == {
            k: other[k] for k in other if k not in ("images", "reason")
        }


def test_the_bytes_do_not_depend_on_the_workers(root: Path) -> None:
    records = [prepared(root, BOTH, workers)[0] for workers in (1, 2)]
    assert records[0].files == records[1].files


def test_an_interval_without_length_is_of_what_is_read(root: Path) -> None:
    _, found = prepared(root, MeldSpec(modalities=("text",)))
    assert found[-1]["status"] == "ok"
