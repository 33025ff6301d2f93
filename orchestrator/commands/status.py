"""`orch status`: the jobs on a cluster, and how far each has come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orchestrator.launch.jobs import Job, Jobs

SHOWN = 20


def status(
    job: Annotated[str | None, typer.Argument(metavar="[ID]", help="One job in detail.")] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Jobs of every user.")] = False,
) -> None:
    """List your jobs, running and ended, with the trials that their storage holds; or show one in detail."""
    from orchestrator.launch.job_note import progress
    from orchestrator.launch.job_request import user
    from orchestrator.launch.jobs import jobs_of
    from orchestrator.settings import load

    with jobs_of(load()) as jobs:
        if job is not None:
            for line in _detail(jobs, jobs.find(job)):
                typer.echo(line)
            return
        me = user()
        mine = [one for one in jobs.all() if everyone or one.user == me]
        if not mine:
            typer.echo(f"no jobs of {'anybody' if everyone else me} at {jobs.url}")
        for one in mine[:SHOWN]:
            typer.echo("  ".join((*_line(one), progress(one.storage, one.id))))
        if len(mine) > SHOWN:
            typer.echo(f"and {len(mine) - SHOWN} older ones")


def _line(job: Job) -> tuple[str, ...]:
    from orchestrator.launch.jobs import when

    since = f"since {when(job.began)}" if job.running else f"at {when(job.ended)}"
    return job.id, job.experiment, job.state.lower(), since


def _detail(jobs: Jobs, job: Job) -> list[str]:
    from orchestrator.launch.job_note import progress
    from orchestrator.launch.jobs import when

    found = {
        "job": f"{job.id} of {job.user}",
        "experiment": job.experiment,
        "state": job.state.lower() + (f", exit code {job.exit_code}" if job.exit_code else ""),
        "began": when(job.began),
        "ended": "" if job.running else when(job.ended),
        "storage": job.storage,
        "sweep": progress(job.storage, job.id),
        "page": jobs.page(job),
        "log": jobs.log_file(job),
        "last lines": "" if job.state != "FAILED" else job.message.strip()[-600:],
    }
    return [f"{name:<10}  {text}" for name, text in found.items() if text]
