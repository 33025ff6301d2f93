"""`orch submit`: the main job, on a cluster, whether or not this machine stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.commands.options import FRESH, NAME, SCALE, SEED, SETS, STORAGE, TRIALS, with_seed

if TYPE_CHECKING:
    from orchestrator.launch.jobs import Job, Jobs


def submit(
    name: NAME,
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Show its log until it ends; Ctrl-C leaves it.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also where the experiment runs already.")] = False,
    trials: TRIALS = None,
    scale: SCALE = None,
    sets: SETS = None,
    seed: SEED = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Most trials at once.")] = None,
    fresh: FRESH = False,
    storage: STORAGE = None,
) -> None:
    """Send `orch sweep NAME` to the Ray cluster as a job, with this checkout's code."""
    from orchestrator.launch.job_request import Flags, experiment_there, job_request
    from orchestrator.launch.jobs import jobs_of
    from orchestrator.settings import load

    settings = load({"storage": storage, "concurrency": concurrency})
    spec, used = experiment_there(name, settings, scale, with_seed(sets, seed))
    flags = Flags(used, trials, tuple(sets or ()), seed, settings.concurrency, fresh)
    with jobs_of(settings) as jobs:
        job = jobs.submit(job_request(name, spec, settings, flags, here=jobs.here()), again=again)
        typer.echo(f"job {job.id} runs {job.experiment} at {jobs.url}, with {job.storage}")
        typer.echo(f"its page: {jobs.page(job)}   its log, on the head: {jobs.log_file(job)}")
        typer.echo(f"follow it: orch attach {job.id}   stop it: orch stop {job.id}   look: orch status {job.id}")
        if follow:
            followed(jobs, job)


def followed(jobs: Jobs, job: Job) -> None:
    """Show the log to the end and exit as the job did; interrupted, the job goes on."""
    from orchestrator.errors import Interrupted

    try:
        ended = jobs.follow(job, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        told = f"job {job.id} goes on; orch attach {job.id} follows it, orch stop {job.id} stops it"
        raise Interrupted(told) from None
    typer.echo(f"job {ended.id} {ended.state.lower()}", err=True)
    raise typer.Exit(ended.outcome)
