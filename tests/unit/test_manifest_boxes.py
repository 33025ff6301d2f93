"""Boxes of a manifest: what is seen with them, what is said without them, and every fault of theirs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.manifest_trees import Row, row, write_csv, write_parquet
from tests.helpers.videos import quarters, write_video
from trainables.artifacts import Record
from trainables.corpus import read_table
from trainables.errors import CorpusError
from trainables.importers.manifest_table import BOX
from trainables.pictures import decode_images
from trainables.prepare import prepare, problem_table
from trainables.spec import ManifestSpec
from trainables.spec.any_corpus import VisualSpec
from trainables.storage import Storage

CROPPED = ManifestSpec(modalities=("visual",), visual=VisualSpec(size=16, crop="corpus"))
WHOLE = CROPPED.model_copy(update={"visual": VisualSpec(size=16)})
WHITE, RED, BLUE, BLACK = (255, 255, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)
QUARTERS = {
    WHITE: (0.1, 0.1, 0.4, 0.4),
    RED: (0.6, 0.1, 0.9, 0.4),
    BLUE: (0.1, 0.6, 0.4, 0.9),
    BLACK: (0.6, 0.6, 1, 1),
}
NO_BOX = dict.fromkeys(BOX, "")


def boxed(*edges: object) -> Row:
    return dict(zip(BOX, edges, strict=True))


def tree(folder: Path, boxes: list[Row], write: Callable[..., Path] = write_csv, suffix: str = "csv") -> Path:
    """Eight rows of one film of four colours; the last box is every further row's."""
    write_video(folder / "a.mp4", [quarters(128, 128)] * 10, options={"qscale": "1"})
    lines = [row(n, audio=None, video="a.mp4", **boxes[min(n, len(boxes) - 1)]) for n in range(8)]
    write(folder / f"manifest.{suffix}", lines)
    return folder


def prepared(root: Path, spec: ManifestSpec) -> tuple[Record, list[dict[str, Any]]]:
    storage = Storage(str(root.parent / "store"))
    record = prepare(storage, spec, root, 1, lambda done, total: None)
    return record, read_table(storage, record.fingerprint).to_pylist()


def colours(found: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    """Of each row's first picture, each channel 0 or 255; all of it has the one colour."""
    pictures = [decode_images(row["images"])[0] > 127 for row in found]
    assert all((picture == picture[0, 0]).all() for picture in pictures)
    return [tuple(255 * int(channel) for channel in picture[0, 0]) for picture in pictures]


@pytest.mark.parametrize(("write", "suffix"), [(write_csv, "csv"), (write_parquet, "parquet")])
def test_each_row_shows_what_its_box_holds(write: Callable[..., Path], suffix: str, tmp_path: Path) -> None:
    boxes = [boxed(*edges) for edges in QUARTERS.values()]
    record, found = prepared(tree(tmp_path / "raw", boxes, write, suffix), CROPPED)
    assert colours(found) == [*QUARTERS, *[BLACK] * 4]
    assert record.info["problems"] == record.info["remarks"] == []


def test_rows_without_a_box_show_the_middle_and_are_counted_once(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw", [boxed(*QUARTERS[RED]), NO_BOX, NO_BOX, boxed(*QUARTERS[BLUE])])
    record, found = prepared(root, CROPPED)
    remarks = [(said.uid, said.reason) for said in problem_table(record).remarks]
    assert remarks == [("all", "2 of 8 rows give no box: the middle of the picture was taken")]
    assert colours([found[0], *found[3:]]) == [RED, *[BLUE] * 5]
    whole = decode_images(prepared(root, WHOLE)[1][1]["images"])
    assert np.array_equal(decode_images(found[1]["images"]), whole)


@pytest.mark.parametrize(
    "spec", [WHOLE, CROPPED.model_copy(update={"modalities": ("text",)})], ids=["another crop", "no pictures"]
)
def test_boxes_that_are_not_read_are_not_looked_at(spec: ManifestSpec, tmp_path: Path) -> None:
    record, found = prepared(tree(tmp_path / "raw", [boxed("left", "", 7, -1)]), spec)
    assert len(found) == 8
    assert record.info["problems"] == record.info["remarks"] == []


@pytest.mark.parametrize(
    ("box", "told"),
    [
        (boxed(0.1, 0.1, 320, 0.9), "box.right '320' is not a share of the picture's side, from 0 to 1"),
        (boxed(-0.1, 0.1, 0.9, 0.9), "box.left '-0.1' is not a share of the picture's side, from 0 to 1"),
        (boxed(0.1, "nan", 0.9, 0.9), "box.top 'nan' is not a share of the picture's side, from 0 to 1"),
        (boxed(0.1, 0.1, 0.9, "half"), "box.bottom 'half' is not a share of the picture's side, from 0 to 1"),
        (boxed(0.6, 0.1, 0.5, 0.9), "box.left '0.6' is not below box.right '0.5'"),
        (boxed(0.1, 0.4, 0.5, 0.40), "box.top '0.4' is not below box.bottom '0.4'"),
        (boxed(0.1, "", 0.5, 0.9), "box.top is empty and box.left is '0.1'; a box has all four, or the row none"),
        (boxed(" ", "", "", 0.9), "box.left is empty and box.bottom is '0.9'; a box has all four, or the row none"),
    ],
)
def test_a_fault_of_a_box_names_row_and_value(box: Row, told: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "raw", [boxed(0, 0, 1, 1), NO_BOX, box])
    with pytest.raises(CorpusError) as raised:
        prepared(root, CROPPED)
    assert str(raised.value) == f"{root / 'manifest.csv'}: row 4: {told}"


@pytest.mark.parametrize(("kept", "absent"), [((), "box.left"), (("box.left", "box.right"), "box.top")])
def test_columns_that_are_missing_are_named(kept: tuple[str, ...], absent: str, tmp_path: Path) -> None:
    root = tree(tmp_path / "raw", [dict.fromkeys(kept, 0.5)])
    with pytest.raises(
        CorpusError, match=rf"no column '{absent}', which visual\.crop: corpus reads; its header is"
    ):
        prepared(root, CROPPED)
