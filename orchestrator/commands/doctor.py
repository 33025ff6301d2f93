"""`orch doctor`: what is configured and reachable, each with the way to mend it."""

from __future__ import annotations

import sys

import typer

from orchestrator.commands.options import STORAGE


def doctor(*, storage: STORAGE = None) -> None:
    """Say what is configured and reachable, and how to mend what is not. Exit 1 where something fails."""
    from orchestrator.display.choose import console
    from orchestrator.display.findings import finding_view, settings_view
    from orchestrator.doctor import examine
    from orchestrator.settings import load

    settings, out = load({"storage": storage}), console(sys.stdout)
    out.print(settings_view(settings))
    failed = 0
    for finding in examine(settings):
        out.print(finding_view(finding))
        failed += finding.level == "fail"
    if failed:
        raise typer.Exit(1)
