"""What a manifest's rows are labelled: one of the classes, several of them or none, or the raters' shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

from trainables.errors import CorpusError
from trainables.importers.manifest_table import VOTES, Manifest
from trainables.spec import ManifestSpec

PARTED_BY = "|"
"""What stands between the labels of a row that may have several."""


def labels_of(manifest: Manifest, spec: ManifestSpec) -> tuple[str, ...]:
    """The spec's, else those that occur; every row's are among them."""
    cells = _parted(manifest) if spec.several else [[row["label"].strip()] for row in manifest.rows]
    for index, named in enumerate(cells):
        for label in named:
            if not label or (spec.labels and label not in spec.labels):
                wanted = f"labels are {', '.join(spec.labels)}" if spec.labels else "every row has one"
                raise CorpusError(f"{manifest.where(index)}: label {label!r}; {wanted}")
    labels = spec.labels or tuple(sorted({label for named in cells for label in named}))
    if not labels:
        raise CorpusError(f"{manifest.path}: every label is empty; there is nothing to learn")
    if len(labels) < 2 and not spec.several:
        raise CorpusError(f"{manifest.path}: every label is {labels[0]!r}; there is nothing to tell apart")
    return labels


def targets_of(manifest: Manifest, labels: Sequence[str]) -> list[list[float]]:
    """[rows][labels]: 1 where the row has the label."""
    return [[float(label in named) for label in labels] for named in _parted(manifest)]


def _parted(manifest: Manifest) -> list[list[str]]:
    cells = (row["label"] for row in manifest.rows)
    return [[label.strip() for label in cell.split(PARTED_BY)] if cell.strip() else [] for cell in cells]


def number_of(value: str, where: str) -> float | None:
    """A number from 0, None for an empty cell."""
    if not value.strip():
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise CorpusError(f"{where} {value!r} is not a number from 0")
    return number


def votes_of(manifest: Manifest, labels: Sequence[str]) -> list[list[float] | None]:
    """[rows][labels]: shares; None where nobody voted for a label in use."""
    columns = [name for name in manifest.columns if name.startswith(VOTES)]
    if not columns:
        manifest.require(f"{VOTES}{labels[0]}", "which votes: true reads, nor of another label")
    for name in columns:
        if name.removeprefix(VOTES) not in labels:
            raise CorpusError(f"{manifest.path}: column {name!r}; labels are {', '.join(labels)}")
    found: list[list[float] | None] = []
    for index, row in enumerate(manifest.rows):
        counts = [number_of(row.get(VOTES + n, ""), f"{manifest.where(index)}: {VOTES}{n}") or 0.0 for n in labels]
        found.append([count / sum(counts) for count in counts] if sum(counts) else None)
    return found
