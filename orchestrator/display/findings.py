"""`orch doctor` for a reader: the settings in force with where they come from, and a line per finding."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.doctor.finding import Finding, hidden
from orchestrator.settings import Settings

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def settings_view(settings: Settings) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("setting", "value", "from"):
        table.add_column(heading, overflow="fold")
    for name, value in values(settings):
        table.add_row(name, Text(value), settings.origin(name))
    return table


def values(settings: Settings) -> list[tuple[str, str]]:
    """Every setting that has a value, by dotted name, without the passwords in URLs."""
    found: list[tuple[str, str]] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, dict):
            found += [(f"{name}.{key}", hidden(str(entry))) for key, entry in value.items()]
        elif value not in (None, ""):
            found.append((name, hidden(str(value))))
    return found


def finding_view(finding: Finding) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True, min_width=4)
    grid.add_column(overflow="fold")
    told = Text.assemble((f"{finding.subject}: ", "bold"), finding.told)
    grid.add_row(Text(finding.level, style=_STYLES[finding.level]), told)
    if finding.mend:
        grid.add_row("", Text(f"-> {finding.mend}"))
    return grid
