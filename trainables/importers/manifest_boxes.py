"""What a manifest's rows say is to be seen of their pictures: a box each, or none."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainables.errors import CorpusError
from trainables.importers.crop import Rectangle
from trainables.importers.manifest_table import BOX, Manifest
from trainables.spec import ManifestSpec


def boxes_of(manifest: Manifest, spec: ManifestSpec) -> tuple[list[Rectangle | None], list[str]]:
    """[rows], None where a row gives none or none are read, and what is to be said of that."""
    count = len(manifest.rows)
    if spec.visual.crop != "corpus" or "visual" not in spec.modalities:
        return [None] * count, []
    for column in BOX:
        manifest.require(column, "which visual.crop: corpus reads")
    boxes = [_box(row, manifest.where(index)) for index, row in enumerate(manifest.rows)]
    without = boxes.count(None)
    told = f"{without} of {count} rows give no box: the middle of the picture was taken"
    return boxes, [told] if without else []


def _box(cells: Mapping[str, str], where: str) -> Rectangle | None:
    empty = [column for column in BOX if not cells[column].strip()]
    if len(empty) == len(BOX):
        return None
    if empty:
        given = next(column for column in BOX if column not in empty)
        raise CorpusError(
            f"{where}: {empty[0]} is empty and {given} is {cells[given]!r}; a box has all four, or the row none"
        )
    edges = [_share(cells[column], f"{where}: {column}") for column in BOX]
    for low, high in ((0, 2), (1, 3)):
        if edges[low] >= edges[high]:
            first, second = BOX[low], BOX[high]
            raise CorpusError(f"{where}: {first} {cells[first]!r} is not below {second} {cells[second]!r}")
    return Rectangle(*edges)


def _share(value: str, where: str) -> float:
    try:
        share = float(value)
    except ValueError:
        share = math.nan
    if not 0 <= share <= 1:
        raise CorpusError(f"{where} {value!r} is not a share of the picture's side, from 0 to 1")
    return share
