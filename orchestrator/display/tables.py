"""The summary of a sweep for a reader: leaderboard, gains, ceilings, and where everything lies."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display import words
from orchestrator.display.lines import spread
from orchestrator.events import Interval, ModelRow
from orchestrator.summary import Summary

STAND_IN = "STAND-IN CORPUS: synthetic speech made by rule. These numbers are not MELD's, nor any real corpus's."


def summary_view(summary: Summary, ui_command: str = "orch ui") -> RenderableType:
    """Everything that a user wants to know at the end, at any width from 80 columns."""
    parts: list[RenderableType] = [Text()]
    if summary.stand_in:
        parts.append(Text(STAND_IN, style="bold yellow"))
    seeds = max((len(row.seeds) for row in summary.leaderboard), default=1)
    parts.append(Text(f"{summary.experiment}: {summary.metric}, mean ± sd over {seeds} seeds", style="bold"))
    parts.append(Text("chosen on dev, test read once; latency: one utterance, one CPU thread", style="dim"))
    parts.append(leaderboard(summary.leaderboard))
    if summary.gains:
        parts += [Text("Gain of the best configuration (95 % paired bootstrap)", style="bold"), gains(summary)]
    if summary.ceilings is not None:
        c = summary.ceilings
        parts.append(
            Text(f"Bayes ceilings (weighted F1): audio {c.audio:.3f}, text {c.text:.3f}, both {c.both:.3f}")
        )
    if summary.front:
        parts.append(Text(f"Pareto front on dev: trials {', '.join(map(str, summary.front))}"))
    parts += [Text(trial_line(summary)), Text(), paths(summary, ui_command)]
    return Group(*parts)


def leaderboard(rows: list[ModelRow]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("model", overflow="fold")
    table.add_column("role", no_wrap=True)
    for heading in ("dev", "test", "95 % interval", "size", "latency"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        latency = "" if row.latency_ms is None else f"{row.latency_ms:.2f} ms"
        style = "bold" if row.role == "best" else ""
        size = words.count(row.parameters)
        cells = (row.name, row.role, f"{row.dev_score:.3f}", spread(row), interval(row.interval), size, latency)
        table.add_row(*map(Text, cells), style=style)
    return table


def gains(summary: Summary) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for gain in summary.gains:
        clear = "" if gain.interval.low <= 0 <= gain.interval.high else "clear of 0"
        table.add_row(
            Text(f"over {gain.over}"), f"{gain.difference:+.3f}", Text(interval(gain.interval, signed=True)), clear
        )
    return table


def trial_line(summary: Summary) -> str:
    t = summary.trials
    return f"{t.total} trials: {t.completed} completed, {t.pruned} pruned, {t.failed} failed"


def paths(summary: Summary, ui_command: str) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, place in summary.paths.items():
        table.add_row(name, Text(place))
    table.add_row("to look", f"{ui_command}   (starts the MLflow UI on this store)")
    return table


def interval(value: Interval, *, signed: bool = False) -> str:
    return f"[{value.low:+.3f}, {value.high:+.3f}]" if signed else f"[{value.low:.3f}, {value.high:.3f}]"


def print_summary(summary: Summary, console: Console) -> None:
    console.print(summary_view(summary))
