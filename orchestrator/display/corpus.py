"""What an importer found, for a reader: counts against the official ones, and every row that is not `ok`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display import words
from orchestrator.display.alignments import aligned
from orchestrator.display.tables import STAND_IN

if TYPE_CHECKING:
    from trainables.importers.base import Problem
    from trainables.prepare import PrepareSummary


def corpus_view(found: PrepareSummary, place: str, ceilings: Mapping[str, Any] | None = None) -> RenderableType:
    """`ceilings`: the Bayes scores that a corpus made by rule allows."""
    parts: list[RenderableType] = []
    if found.stand_in:
        parts += [Text(STAND_IN, style="bold yellow"), Text()]
    if found.problems:
        parts += [Text("Rows that are not ok", style="bold"), rows(found.problems), Text()]
    if found.remarks:
        parts += [Text("Rows with a remark", style="bold"), rows(found.remarks), Text()]
    if found.extra_clips:
        told = ", ".join(found.extra_clips)
        parts += [Text(f"{words.counted(len(found.extra_clips), 'clip')} without a row, left out: {told}"), Text()]
    if found.excluded:
        told = ", ".join(f"{label} {count}" for label, count in found.excluded.items())
        parts += [Text(f"{words.counted(sum(found.excluded.values()), 'raw row')} left out: {told}"), Text()]
    if found.statuses:
        parts.append(Text("by status: " + ", ".join(f"{name} {count}" for name, count in found.statuses.items())))
    parts.append(counts(found))
    if found.aligned:
        parts.append(aligned(found.aligned, comparable=found.comparable))
    if found.folds:
        parts += [Text(), folds(found.folds), Text()]
    if ceilings:
        parts.append(Text(words.ceilings(ceilings)))
    parts.append(Text(f"corpus  {place}"))
    return Group(*parts)


def counts(found: PrepareSummary) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("split")
    for heading in ("rows", "official", "not ok"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for split in found.counts:
        official = "–" if split.expected is None else str(split.expected)
        fits = "" if split.expected in (None, split.rows) else f"{split.rows - (split.expected or 0):+d}"
        table.add_row(split.split, str(split.rows), official, str(split.faulty), fits)
    return table


def folds(found: Sequence[Mapping[str, int]]) -> Table:
    """The rows of each split, a line a fold."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("fold", *found[0]):
        table.add_column(heading, justify="right")
    for number, fold in enumerate(found):
        table.add_row(str(number), *map(str, fold.values()))
    return table


def rows(problems: Sequence[Problem]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for overflow in (True, True, False):
        table.add_column(no_wrap=overflow, overflow="fold")
    for problem in problems:
        table.add_row(problem.uid, problem.status, Text(problem.reason))
    return table
