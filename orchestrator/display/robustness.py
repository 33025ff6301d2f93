"""What missing and damaged input costs, for a reader: conditions by the few models that are compared."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display import words
from orchestrator.events import ConditionScore, ModelRow
from orchestrator.robustness import CLEAN
from orchestrator.summary import Summary

COLUMNS = 3
"""Most models side by side: as many as fit into 80 columns."""
_ORDER = ("default", "control", "ablation")


def robustness(summary: Summary) -> RenderableType:
    """The best model, the default and the control; of the best one the interval of the change, too."""
    shown = compared(summary.leaderboard)
    told = f"Where input is missing or damaged: {summary.metric} on test, and its change"
    note = f"interval: of {shown[0].name}'s change; those of all rows are in robustness-*.parquet"
    return Group(Text(told, style="bold"), Text(note, style="dim"), table(shown))


def compared(rows: Sequence[ModelRow]) -> list[ModelRow]:
    """The first row, then those that it is measured by, as many as there is room for."""
    tried = [row for row in rows if row.robustness]
    others = [row for role in _ORDER for row in tried[1:] if row.role == role]
    return [*tried[:1], *others][:COLUMNS]


def table(rows: Sequence[ModelRow]) -> Table:
    found = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    found.add_column("condition", no_wrap=True)
    found.add_column(rows[0].name, overflow="fold")
    found.add_column("95 % interval", no_wrap=True)
    for row in rows[1:]:
        found.add_column(row.name, overflow="fold")
    found.add_row(CLEAN, *_cells([words.score(row.score) for row in rows], ""))
    by_name = [{one.name: one for one in row.robustness} for row in rows]
    for name in dict.fromkeys(one.name for row in rows for one in row.robustness):
        ones = [known.get(name) for known in by_name]
        found.add_row(Text(name), *_cells([_cell(one) for one in ones], _interval(ones[0])))
    return found


def _cells(values: Sequence[str], interval: str) -> list[Text]:
    return [Text(value) for value in (values[0], interval, *values[1:])]


def _cell(one: ConditionScore | None) -> str:
    return "" if one is None else f"{words.score(one.score)} {one.change:+.3f}"


def _interval(one: ConditionScore | None) -> str:
    return "" if one is None else f"[{one.change_interval.low:+.3f}, {one.change_interval.high:+.3f}]"
