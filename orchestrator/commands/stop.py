"""`orch stop`: end a job on a cluster; what it has finished stays."""

from __future__ import annotations

import typer

from orchestrator.commands.options import JOB


def stop(job: JOB = None) -> None:
    """End a job as Ctrl-C would: what is finished is kept, and the same submission goes on with the rest."""
    from orchestrator.errors import StageError
    from orchestrator.launch.job_request import user
    from orchestrator.launch.jobs import jobs_of
    from orchestrator.settings import load

    with jobs_of(load()) as jobs:
        found = jobs.chosen(job, user())
        if not found.running:
            typer.echo(f"job {found.id} has ended already: {found.state.lower()}")
            return
        ended = jobs.stop(found)
        if ended.running:
            raise StageError(
                f"job {ended.id} was told to stop and has not yet; look again with orch status {ended.id}"
            )
        typer.echo(f"job {ended.id} {ended.state.lower()}; orch submit {ended.experiment} goes on with what it has")
