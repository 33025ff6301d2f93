"""Jobs on a real head with a dashboard that asks for a token: sent, followed, left, stopped, listed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import TrialRecord
from orchestrator.journal import Journal
from orchestrator.launch.job_request import Flags, JobRequest, job_request
from orchestrator.launch.jobs import Job, Jobs, jobs_of
from orchestrator.settings import Settings, load
from tests.helpers.cluster_sweep import FOLDER, ran
from tests.helpers.driver import SMALL
from tests.helpers.services.namespaces import REPOSITORY
from tests.helpers.services.process import free_port
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.trials import experiment
from trainables.storage import Storage

TOKEN = "a-token-of-the-tests-a-token-of-the-tests"
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    environment = {**AUTHENTICATION, "PATH": PATH}
    with ray_nodes(tmp_path_factory.mktemp("head"), [2], environment, dashboard=True) as nodes:
        yield nodes


@pytest.fixture(autouse=True)
def _no_token_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


@dataclass(frozen=True)
class Desk:
    """Where somebody works: a folder with nothing configured but the cluster and the storage."""

    folder: Path
    environment: Mapping[str, str]

    def start(self, *arguments: str, **change: str) -> subprocess.Popen[str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORCH_", "RAY_", "MLFLOW_"))}
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cli", *arguments],
            env={**kept, "PYTHONPATH": str(REPOSITORY), **self.environment, **change},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def orch(self, *arguments: str, **change: str) -> tuple[int, str]:
        process = self.start(*arguments, **change)
        output = process.communicate(timeout=600)[0]
        return process.returncode, output


@pytest.fixture
def desk(head: RayNodes, tmp_path: Path) -> Desk:
    where = {"RAY_ADDRESS": head.address, "ORCH_STORAGE": str(tmp_path / "store"), **AUTHENTICATION}
    return Desk(tmp_path, {**where, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})


@pytest.fixture
def jobs(desk: Desk, head: RayNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    with jobs_of(load()) as found:
        assert found.url == head.dashboard
        yield found
        for job in found.all():
            if job.running:
                found.stop(job)


def formula_job(settings: Settings, jobs: Jobs, name: str, trials: int, pause: float) -> JobRequest:
    """A sweep by formula in place of `orch sweep`, all else as `orch submit` would send it."""
    spec = experiment().model_copy(update={"name": name})
    request = job_request(name, spec, settings, Flags("laptop"), here=jobs.here())
    command = ["python", "-m", "tests.helpers.cluster_sweep", request.storage, str(trials), "1", str(pause)]
    files = {**request.files, "tests": REPOSITORY / "tests"}
    return request.model_copy(update={"command": command, "files": files})


def until_trials(job: Job, count: int) -> None:
    """Until that many trials have begun."""
    deadline = time.monotonic() + 180
    while len({trial for trial, _ in ran(Storage(job.storage))}) < count:
        assert time.monotonic() < deadline, f"{job.id} never came to its trial {count}"
        time.sleep(0.5)


def test_a_sweep_is_sent_followed_to_its_end_and_listed(desk: Desk, jobs: Jobs) -> None:
    sets = [word for path, value in SMALL.items() for word in ("--set", f"{path}={value}")]
    small = ("--scale", "laptop", "--trials", "2", *sets)
    code, output = desk.orch("submit", "cmd-meld", "--follow", *small)
    assert code == 0, output[-3000:]
    (job,) = jobs.all()
    assert f"job {job.id} runs cmd-meld at {jobs.url}, with {desk.folder}/store" in output
    assert f"{jobs.url}/#/jobs/{job.id}" in output
    assert f"orch attach {job.id}" in output
    assert f"orch stop {job.id}" in output
    assert "sweep: done" in output
    assert (job.state, job.outcome, job.running) == ("SUCCEEDED", 0, False)
    log = re.search(r"its log, on the head: (\S+)", output)
    assert log is not None
    assert "sweep: done" in Path(log[1]).read_text()
    assert re.search(
        rf"{job.id}  cmd-meld  succeeded  at .*  2 of 2 trials \(2 completed\)", desk.orch("status")[1]
    )
    assert not Storage(f"{desk.folder}/store").list("ray"), "what Ray wrote there is removed"
    assert desk.orch("attach", job.id)[1].count("sweep: done") == 1


def test_a_job_that_fails_gives_its_exit_code_and_its_last_lines(desk: Desk, jobs: Jobs) -> None:
    code, output = desk.orch("submit", "cmd-meld", "--follow", ORCH_CORPORA__MELD="/nowhere/meld")
    assert code == 2
    told = "corpora.meld = '/nowhere/meld' (from the environment): there is no such folder"
    assert told in output
    job = jobs.all()[0]
    assert (job.state, job.outcome) == ("FAILED", 2)
    detail = desk.orch("status", job.id)[1]
    assert "failed, exit code 2" in detail
    assert "there is no such folder" in detail


def test_ctrl_c_leaves_the_job_running_and_stop_ends_it(desk: Desk, jobs: Jobs) -> None:
    job = jobs.submit(formula_job(load(), jobs, "left", 500, 0.3))
    assert job.running
    follower = desk.start("attach")
    until_trials(job, 2)
    follower.send_signal(signal.SIGINT)
    output = follower.communicate(timeout=60)[0]
    assert follower.returncode == 130, output[-2000:]
    assert "trial 0 " in output
    assert f"job {job.id} goes on; orch attach {job.id} follows it" in output
    assert jobs.find(job.id).running
    with pytest.raises(SettingsError, match=rf"left: job {job.id} of \w+ runs it already.*orch attach.*--again"):
        jobs.submit(formula_job(load(), jobs, "left", 500, 0.3))
    code, output = desk.orch("stop")
    assert (code, output) == (0, f"job {job.id} stopped; orch submit left goes on with what it has\n")
    assert jobs.find(job.id).state == "STOPPED"
    states = [record.state for record in _stored(job)]
    assert "completed" in states
    assert "running" not in states, "the driver had the time to put its journal in order"
    assert f"{len(states)} trials" not in desk.orch("status")[1]
    assert re.search(rf"{job.id}  left  stopped  at .*  \d+ of 500 trials", desk.orch("status")[1])
    assert desk.orch("stop", job.id) == (0, f"job {job.id} has ended already: stopped\n")


def test_a_second_submission_goes_on_with_what_the_first_has(desk: Desk, jobs: Jobs) -> None:
    first = jobs.submit(formula_job(load(), jobs, "again", 500, 0.3))
    until_trials(first, 3)
    jobs.stop(first)
    before = {record.number: record for record in _stored(first) if record.state == "completed"}
    assert before
    trials = len(_stored(first)) + 1
    second = jobs.submit(formula_job(load(), jobs, "again", trials, 0))
    lines: list[str] = []
    ended = jobs.follow(second, lines.append)
    assert ended.state == "SUCCEEDED", "".join(lines)[-3000:]
    after = {record.number: record for record in _stored(second)}
    assert sorted(after) == list(range(trials))
    assert all(after[number] == record for number, record in before.items())


def test_nothing_secret_is_sent(desk: Desk, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "planted-secret")
    job = jobs.submit(formula_job(load(), jobs, "secrets", 1, 0))
    details = str(jobs._client._do_request("GET", f"/api/jobs/{job.id}").json())
    assert "tests.helpers.cluster_sweep" in details
    assert "planted-secret" not in details
    assert TOKEN not in details


ADDRESSES = ("{0.address}", "{0.client}", "{0.dashboard}")


def dashboard_at(head: RayNodes, address: str, monkeypatch: pytest.MonkeyPatch, **change: str | None) -> str:
    """Where jobs would be sent, with this address and these variables."""
    for name, value in {**AUTHENTICATION, "RAY_ADDRESS": address.format(head), **change}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with jobs_of(load()) as found:
        found.all()
        return found.url


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_of_the_cluster_leads_to_its_dashboard(
    head: RayNodes, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dashboard_at(head, address, monkeypatch) == head.dashboard


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"RAY_AUTH_TOKEN": "another-token-another-token"},
            "the cluster does not accept the token that it was shown",
        ),
        ({"RAY_AUTH_TOKEN": None}, "the cluster wants a token, and there is none here; give RAY_AUTH_TOKEN"),
        (
            {"RAY_AUTH_MODE": "disabled"},
            "the cluster wants a token, and RAY_AUTH_MODE=disabled shows none; unset it",
        ),
    ],
)
def test_a_wrong_token_is_told(
    head: RayNodes, address: str, change: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match=told) as found:
        dashboard_at(head, address, monkeypatch, **change)
    assert "another-token" not in str(found.value)


def test_the_token_is_shown_also_where_no_mode_is_set(head: RayNodes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dashboard_at(head, "{0.address}", monkeypatch, RAY_AUTH_MODE=None) == head.dashboard


def test_no_job_of_that_name_and_none_that_runs(desk: Desk) -> None:
    code, output = desk.orch("attach", "orch-none-000000")
    assert (code, "orch-none-000000: " in output, "knows no such job" in output) == (2, True, True), output
    code, output = desk.orch("stop")
    assert (code, "no job of" in output) == (2, True), output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"RAY_ADDRESS": "127.0.0.1:{free}"}, "RAY_ADDRESS '127.0.0.1:{free}': no cluster answers"),
        ({"RAY_ADDRESS": "ray://127.0.0.1:{free}"}, "RAY_ADDRESS 'ray://127.0.0.1:{free}': no cluster answers"),
        ({"RAY_ADDRESS": "http://127.0.0.1:{free}"}, "no dashboard answers (Connection refused)"),
        ({"RAY_API_SERVER_ADDRESS": "http://127.0.0.1:{free}"}, "RAY_API_SERVER_ADDRESS 'http://127.0.0.1:{free}'"),
        ({"RAY_ADDRESS": ""}, "no cluster is named: set RAY_ADDRESS"),
    ],
)
def test_where_nobody_answers_it_is_told_what_to_mend(
    head: RayNodes, change: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    with pytest.raises(SettingsError, match=re.escape(told.replace("{free}", port))):
        dashboard_at(head, "{0.address}", monkeypatch, **{k: v.replace("{free}", port) for k, v in change.items()})


def test_a_command_tells_it_in_one_line(desk: Desk) -> None:
    code, output = desk.orch("status", RAY_ADDRESS=f"127.0.0.1:{free_port()}")
    assert (code, output.count("\n")) == (2, 1), output
    assert "error: RAY_ADDRESS '127.0.0.1:" in output


def test_a_cluster_without_a_dashboard_is_told_from_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        ray_nodes(tmp_path, [1]) as nodes,
        pytest.raises(SettingsError, match=r"no dashboard answers .* jobs are sent to it: start the head"),
    ):
        dashboard_at(nodes, "{0.address}", monkeypatch, RAY_AUTH_MODE="disabled")


def _stored(job: Job) -> list[TrialRecord]:
    return Journal(Storage(job.storage).at(FOLDER)).read()
