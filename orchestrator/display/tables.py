"""The summary of a sweep for a reader: leaderboard, gains, ceilings, and where everything lies."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.display import words
from orchestrator.display.alignments import aligned
from orchestrator.display.lines import spread
from orchestrator.display.robustness import robustness
from orchestrator.events import Interval, ModelRow
from orchestrator.summary import Gain, Summary

SHOWN_LABELS = 10
"""Most labels whose confusion matrix is shown; that of more is in its file alone."""
STAND_IN = "STAND-IN CORPUS: speech and faces made by rule. These numbers are not MELD's, nor any real corpus's."


def summary_view(summary: Summary, ui_command: str = "orch ui") -> RenderableType:
    """Everything that a user wants to know at the end, at any width from 80 columns."""
    parts: list[RenderableType] = [Text()]
    if summary.stand_in:
        parts.append(Text(STAND_IN, style="bold yellow"))
    seeds = max((len(row.seeds) for row in summary.leaderboard), default=1)
    pooled = f", test rows of all {summary.folds} folds together" if summary.folds else ""
    told = f"{summary.experiment}: {summary.metric}, mean ± sd over {seeds} seeds{pooled}"
    parts.append(Text(told, style="bold"))
    parts.append(Text("chosen on dev, test read once; latency: one utterance, one CPU thread", style="dim"))
    if summary.inputs:
        parts.append(
            Text(f"dev of such a method is the mean over its inputs: {', '.join(summary.inputs)}", style="dim")
        )
    if summary.alignment:
        parts.append(aligned(summary.alignment, comparable=summary.comparable))
    parts.append(leaderboard([row for row in summary.leaderboard if row.role != "ablation"]))
    if summary.folds:
        parts += [Text(f"Accuracy and mean recall (mean ± sd over {summary.folds} folds)", style="bold")]
        parts.append(over_folds(summary.leaderboard))
    if summary.gains:
        parts += [Text("Gain of the best configuration (95 % paired bootstrap)", style="bold"), gains(summary)]
    if any(row.robustness for row in summary.leaderboard):
        parts.append(robustness(summary))
    if summary.ablations:
        told = f"Ablations, and the gain of {summary.ablations[0].of} over each (95 % paired bootstrap)"
        parts += [Text(told, style="bold"), ablations(summary)]
    if summary.leaderboard[0].by_label:
        told = f"Labels of {summary.leaderboard[0].name}: at 0.5, and F1 at the threshold fitted on dev"
        parts += [Text(told, style="bold"), by_label(summary.leaderboard[0])]
    if summary.leaderboard[0].confusion and len(summary.labels) <= SHOWN_LABELS:
        told = f"Confusion of {summary.leaderboard[0].name}: label by prediction, % of the label's test rows"
        parts += [Text(told, style="bold"), confusion(summary.leaderboard[0], summary.labels)]
    if summary.ceilings is not None:
        parts.append(Text(words.ceilings(summary.ceilings, summary.ceilings_metric)))
    if summary.front:
        parts.append(Text(f"Pareto front on dev: trials {', '.join(map(str, summary.front))}"))
    if summary.trials.total:
        parts.append(Text(trial_line(summary)))
    parts += [Text(), paths(summary, ui_command)]
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
        told = Text(interval(gain.interval, signed=True))
        table.add_row(Text(f"over {gain.over}"), f"{gain.difference:+.3f}", told, _clear(gain))
    return table


def over_folds(rows: list[ModelRow]) -> Table:
    """WA, the share of right predictions, and UA, the mean recall: pooled, and over folds."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("model", overflow="fold")
    for heading in ("WA", "UA", "WA over folds", "UA over folds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        pooled = [words.score(row.metrics.get(name)) for name in ("accuracy", "uar")]
        spreads = [row.folds.get(name) for name in ("accuracy", "uar")]
        each = ["" if one is None else f"{one.mean:.3f} ± {one.sd:.3f}" for one in spreads]
        table.add_row(*map(Text, (row.name, *pooled, *each)), style="bold" if row.role == "best" else "")
    return table


def ablations(summary: Summary) -> Table:
    rows = {row.name: row for row in summary.leaderboard}
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("ablation", overflow="fold")
    for heading in ("dev", "test", "gain", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for gain in summary.ablations:
        row = rows[gain.over]
        cells = (row.name, f"{row.dev_score:.3f}", spread(row), f"{gain.difference:+.3f}")
        table.add_row(*map(Text, (*cells, interval(gain.interval, signed=True), _clear(gain))))
    return table


def by_label(row: ModelRow) -> Table:
    """One row a label of an utterance that may have several."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("label", overflow="fold")
    for heading in ("rows", "balanced", "F1", "AP", "F1 fitted", "threshold"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in row.by_label:
        values = (one.balanced_accuracy, one.f1, one.average_precision, one.tuned_f1, one.threshold)
        table.add_row(Text(one.label), str(one.support), *(words.score(value) for value in values))
    return table


def confusion(row: ModelRow, labels: list[str]) -> Table:
    """One row a label; its predictions in per cent, the label's own in bold."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", overflow="fold")
    for label in labels:
        table.add_column(label[:5], justify="right", no_wrap=True, min_width=3)
    table.add_column("rows", justify="right", no_wrap=True, style="dim")
    for own, (label, counts) in enumerate(zip(labels, row.confusion, strict=True)):
        total = sum(counts)
        shares = [f"{100 * count / total:.0f}" if total else "" for count in counts]
        cells = [Text(share, style="bold" if column == own else "") for column, share in enumerate(shares)]
        table.add_row(Text(label), *cells, str(total // max(len(row.seeds), 1)))
    return table


def _clear(gain: Gain) -> str:
    return "" if gain.interval.low <= 0 <= gain.interval.high else "clear of 0"


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
