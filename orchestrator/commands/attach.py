"""`orch attach`: the log of a job that runs on a cluster, or has run."""

from __future__ import annotations

from orchestrator.commands.options import JOB


def attach(job: JOB = None) -> None:
    """Show a job's log until it ends, and exit as it does; Ctrl-C leaves it running."""
    from orchestrator.commands.submit import followed
    from orchestrator.launch.job_request import user
    from orchestrator.launch.jobs import jobs_of
    from orchestrator.settings import load

    with jobs_of(load()) as jobs:
        followed(jobs, jobs.chosen(job, user()))
