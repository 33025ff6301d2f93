"""The index of commands, nothing else."""

from __future__ import annotations

import typer

from orchestrator.commands.ablate import ablate
from orchestrator.commands.app import Commands, version_option
from orchestrator.commands.attach import attach
from orchestrator.commands.check import check
from orchestrator.commands.doctor import doctor
from orchestrator.commands.infra import infra
from orchestrator.commands.prepare import prepare
from orchestrator.commands.schema import schema
from orchestrator.commands.show import show
from orchestrator.commands.status import status
from orchestrator.commands.stop import stop
from orchestrator.commands.submit import submit
from orchestrator.commands.sweep import sweep
from orchestrator.commands.sync import sync
from orchestrator.commands.ui import ui

app = typer.Typer(
    name="orch",
    cls=Commands,
    help="Distil big emotion models into small, honest students, and search for the best one.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(version_option)
for command in (sweep, submit, attach, stop, status, ablate, prepare, check, show, sync, schema, ui, doctor):
    app.command()(command)
app.add_typer(infra, name="infra")


def main() -> None:
    app()


if __name__ == "__main__":
    main()
