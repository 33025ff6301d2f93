"""Sweeps as jobs of a Ray cluster: sent, followed, stopped and listed over its dashboard, from any machine.

A job is `orch sweep` with a driver on the cluster's head. It goes on when whoever sent it goes away; when the head
is lost, submitting the same again goes on with what the storage holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orchestrator.errors import SettingsError
from orchestrator.launch.access import is_mine
from orchestrator.launch.dashboard import asked, dashboard_client
from orchestrator.launch.job_request import EXPERIMENT, STOP_SECONDS, STORAGE, USER, JobRequest, lay_out
from orchestrator.settings import Settings

ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
AWAY_SECONDS = 300.0
"""How long a dashboard that answered once may be away while a job is followed."""
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """One of ours, as the dashboard knows it."""

    id: str
    experiment: str
    user: str
    storage: str
    state: str
    """PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""
    began: float
    """Seconds since 1970, by the head's clock; 0 before it has begun."""
    ended: float
    """0 as long as it has not."""
    exit_code: int | None
    message: str

    @property
    def running(self) -> bool:
        return self.state not in ENDED

    @property
    def outcome(self) -> int:
        """As the exit code of whoever waited for it."""
        return 0 if self.state == "SUCCEEDED" else self.exit_code or 1


class Jobs:
    """The jobs of one cluster. Every method raises SettingsError, with what to mend, where it does not answer."""

    def __init__(self, client: Any, url: str) -> None:
        self._client, self.url = client, url

    def here(self) -> bool:
        """Whether the cluster is this machine alone."""
        with suppress(KeyError, TypeError):
            return all(is_mine(node["ip"]) for node in self._nodes()["data"]["summary"])
        return False

    def submit(self, request: JobRequest, *, again: bool = False) -> Job:
        """Refuses with SettingsError what runs already: the experiment in the same storage, unless `again`."""
        for job in [] if again else self.all():
            if job.running and (job.experiment, job.storage) == (request.experiment, request.storage):
                raise SettingsError(
                    f"{request.experiment}: job {job.id} of {job.user} runs it already, with {job.storage} (since "
                    f"{when(job.began)}); follow it with orch attach {job.id}, stop it with orch stop {job.id}, or "
                    "send a second one with --again"
                )
        with TemporaryDirectory(prefix="orch-job-") as folder:
            lay_out(request, Path(folder))
            environment: dict[str, Any] = {"env_vars": request.variables}
            if request.files:
                environment["working_dir"] = folder
            send = partial(
                self._client.submit_job,
                entrypoint=request.entrypoint,
                submission_id=request.id,
                runtime_env=environment,
                metadata=request.metadata,
            )
            self._ask(send)
        return self.find(request.id)

    def all(self) -> list[Job]:
        """Every job that was sent by `orch submit`, the newest first."""
        jobs = [_job(details) for details in self._ask(self._client.list_jobs)]
        return sorted((job for job in jobs if job), key=lambda job: -job.began)

    def find(self, name: str) -> Job:
        for job in self.all():
            if job.id == name:
                return job
        raise SettingsError(f"{name}: {self.url} knows no such job of orch; `orch status` lists yours")

    def chosen(self, name: str | None, user: str) -> Job:
        """The job of that id, or the one that runs for this user. SettingsError where that is none or several."""
        if name is not None:
            return self.find(name)
        running = [job for job in self.all() if job.running and job.user == user]
        if len(running) == 1:
            return running[0]
        if not running:
            raise SettingsError(f"no job of {user} runs at {self.url}; give the id of an ended one: orch status")
        listed = ", ".join(f"{job.id} ({job.experiment})" for job in running)
        raise SettingsError(f"{len(running)} jobs of {user} run at {self.url}: say which of {listed}")

    def stop(self, job: Job) -> Job:
        """Tell it to end and wait until it has; it keeps what is finished."""
        self._ask(lambda: self._client.stop_job(job.id))
        deadline = time.monotonic() + STOP_SECONDS + 30
        while (now := self.find(job.id)).running and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return now

    def follow(self, job: Job, write: Callable[[str], None]) -> Job:
        """Write its log, from the first line, until it has ended. A dashboard may be away meanwhile."""
        log, heard = _Log(write), time.monotonic()
        while True:
            with suppress(*_lost()):
                asyncio.run(log.read(self._client, job.id))
                heard = time.monotonic()
            try:
                now = self.find(job.id)
                heard = time.monotonic()
                if not now.running:
                    return now
            except SettingsError:
                if time.monotonic() - heard > AWAY_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def log_file(self, job: Job) -> str:
        """Where the log lies on the head."""
        folder = "/tmp/ray/session_latest"
        with suppress(KeyError, TypeError, StopIteration):
            head = next(node["raylet"] for node in self._nodes()["data"]["summary"] if node["raylet"]["isHeadNode"])
            folder = head["sessionDir"]
        return f"{folder}/logs/job-driver-{job.id}.log"

    def page(self, job: Job) -> str:
        return f"{self.url}/#/jobs/{job.id}"

    def _nodes(self) -> Any:
        """What the dashboard says of the nodes, as far as it says it."""
        return self._ask(lambda: self._client._do_request("GET", "/nodes?view=summary").json())

    def _ask(self, what: Callable[[], Any]) -> Any:
        return asked(self.url, what)


@contextmanager
def jobs_of(settings: Settings) -> Iterator[Jobs]:
    """The jobs of the cluster that the settings name. Raises SettingsError where there is none, or no dashboard."""
    with dashboard_client(settings) as (client, url):
        yield Jobs(client, url)


def when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "now"


class _Log:
    """The log of a job as far as it was read; a reader that lost its connection begins again at the first line."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._written = write, 0

    async def read(self, client: Any, job: str) -> None:
        """Until the log ends, or the connection does."""
        place = 0
        async for text in client.tail_job_logs(job):
            new = text[max(0, self._written - place) :]
            place += len(text)
            if new:
                self._written = place
                self._write(new)


def _job(details: Any) -> Job | None:
    """None where `orch submit` has not sent it."""
    metadata: Mapping[str, str] = details.metadata or {}
    if EXPERIMENT not in metadata or details.submission_id is None:
        return None
    return Job(
        id=details.submission_id,
        experiment=metadata[EXPERIMENT],
        user=metadata.get(USER, ""),
        storage=metadata.get(STORAGE, ""),
        state=str(getattr(details.status, "value", details.status)),
        began=(details.start_time or 0) / 1000,
        ended=(details.end_time or 0) / 1000,
        exit_code=details.driver_exit_code,
        message=details.message or "",
    )


def _lost() -> tuple[type[Exception], ...]:
    """What a connection that ends too early raises."""
    import aiohttp

    return (RuntimeError, OSError, aiohttp.ClientError, asyncio.TimeoutError)
