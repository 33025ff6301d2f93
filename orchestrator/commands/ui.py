"""`orch ui`: the MLflow UI on the configured store."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from orchestrator.commands.options import STORAGE


def ui(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of http://127.0.0.1.")] = 5000,
    storage: STORAGE = None,
) -> None:
    """Start the MLflow UI on the configured store, until Ctrl-C."""
    from orchestrator.settings import load
    from orchestrator.tracking import ui_address, ui_command
    from orchestrator.tracking.client import shown, sqlite_path

    uri = load({"storage": storage}).mlflow_tracking_uri
    there = ui_address(uri)
    if there is not None:
        typer.echo(f"the tracking server has its UI at {there}")
        return
    database = sqlite_path(uri)
    if database is not None:
        database.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(f"MLflow UI of {shown(uri)}: http://127.0.0.1:{port} (Ctrl-C ends it)")
    raise typer.Exit(served(ui_command(uri, port)))


def served(command: list[str]) -> int:
    """Run the server until it ends or is interrupted; it starts processes of its own, and all end together."""
    import os
    import signal
    import subprocess

    server = subprocess.Popen(command, start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 0  # the way to end it that was told
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait()
