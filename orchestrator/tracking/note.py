"""The description that MLflow shows with the parent run."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.events import ModelRow
from orchestrator.tracking.info import SweepInfo, stand_in_line

_LIMIT = 4900
_HEADER = (
    "| model | role | test score | 95 % interval | dev | parameters | latency ms |",
    "|---|---|--:|--:|--:|--:|--:|",
)


def sweep_note(info: SweepInfo, rows: Sequence[ModelRow]) -> str:
    """The claim, whether the numbers are the stand-in's, and the leaderboard, best first, in Markdown."""
    lines = [stand_in_line(info.stand_in), "", info.claim, "", *_HEADER]
    ranked = sorted(rows, key=lambda row: row.score, reverse=True)
    for i, row in enumerate(ranked):
        line = _line(row)
        if sum(map(len, lines)) + len(lines) + len(line) > _LIMIT:
            lines.append(f"\n{len(ranked) - i} more rows are in the nested runs.")
            break
        lines.append(line)
    return "\n".join(lines)


def _line(row: ModelRow) -> str:
    sd = "" if row.sd is None else f" ± {100 * row.sd:.1f}"
    low, high = 100 * row.interval.low, 100 * row.interval.high
    latency = "" if row.latency_ms is None else f"{row.latency_ms:.2f}"
    name = row.name.replace("|", "\\|")
    return (
        f"| {name} | {row.role} | {100 * row.score:.1f}{sd} | {low:.1f} – {high:.1f} | "
        f"{100 * row.dev_score:.1f} | {row.parameters:,} | {latency} |"
    )
