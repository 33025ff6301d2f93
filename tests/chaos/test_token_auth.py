"""A head that asks for a token, as on a cluster: every command with it, without it and with another, and where the
token can be read afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.helpers.driver import SMALL, sets
from tests.helpers.services.namespaces import REPOSITORY
from tests.helpers.services.ray import RayNodes, ray_nodes

TOKEN = "planted-token-0123456789-abcdefghij-planted"
OTHER = "another-token-0123456789-abcdefghij-another"
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
SWEEP = ("cmd-meld", "--scale", "laptop", "--trials", "2", *sets(SMALL))
PLACES = {"RAY_ADDRESS": "{0.address}", "RAY_API_SERVER_ADDRESS": "{0.dashboard}"}


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with ray_nodes(tmp_path_factory.mktemp("head"), [2], {**AUTHENTICATION, "PATH": path}, dashboard=True) as nodes:
        yield nodes


def orch(head: RayNodes, folder: Path, *arguments: str, **change: str | None) -> tuple[int, str]:
    """Exit code and all output of a command in an otherwise empty environment."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ORCH_", "RAY_", "MLFLOW_"))}
    where = {name: place.format(head) for name, place in PLACES.items()}
    own = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(REPOSITORY)}
    given = {**kept, **own, **where, "ORCH_STORAGE": str(folder / "store"), **AUTHENTICATION, **change}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli", *arguments],
        env={name: value for name, value in given.items() if value is not None},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


REFUSALS: list[tuple[Mapping[str, str | None], str]] = [
    ({"RAY_AUTH_TOKEN": None, "RAY_AUTH_MODE": None}, "the cluster wants a token, and there is none here"),
    ({"RAY_AUTH_TOKEN": OTHER}, "the cluster does not accept the token that it was shown"),
]


@pytest.mark.parametrize(("change", "told"), REFUSALS, ids=["none", "another"])
@pytest.mark.parametrize("command", [("sweep", *SWEEP), ("submit", *SWEEP), ("status",), ("attach",), ("stop",)])
def test_a_command_without_the_token_ends_with_one_sentence(
    head: RayNodes, tmp_path: Path, command: tuple[str, ...], change: Mapping[str, str | None], told: str
) -> None:
    code, output = orch(head, tmp_path, *command, **change)
    assert (code, len(re.findall(r"^error: ", output, re.MULTILINE)), told in " ".join(output.split())) == (
        2,
        1,
        True,
    ), output
    assert "Traceback" not in output
    assert "RAY_AUTH_TOKEN" in output
    assert OTHER not in output


@pytest.mark.parametrize(("change", "told"), REFUSALS, ids=["none", "another"])
def test_doctor_without_the_token_says_so(
    head: RayNodes, tmp_path: Path, change: Mapping[str, str | None], told: str
) -> None:
    code, output = orch(head, tmp_path, "doctor", **change)
    assert (code != 0, told in " ".join(output.split())) == (True, True), output
    assert OTHER not in output


def status_of(url: str, token: str | None, data: bytes | None = None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json", **headers}), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.mark.parametrize(("token", "refused"), [(None, 401), (OTHER, 403)], ids=["none", "another"])
@pytest.mark.parametrize("path", ["api/jobs/", "api/version", "nodes?view=summary", "api/v0/actors", "logs"])
def test_what_the_dashboard_serves_wants_the_token(
    head: RayNodes, path: str, token: str | None, refused: int
) -> None:
    assert status_of(f"{head.dashboard}/{path}", token) == refused
    assert status_of(f"{head.dashboard}/{path}", TOKEN) not in (401, 403)


def test_no_job_is_taken_without_the_token(head: RayNodes, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    job = json.dumps({"entrypoint": f"touch {mark}"}).encode()
    assert status_of(f"{head.dashboard}/api/jobs/", None, job) == 401
    assert status_of(f"{head.dashboard}/api/jobs/", OTHER, job) == 403
    assert not mark.exists()


JOIN = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('joined', ray.cluster_resources())"


@pytest.mark.parametrize("address", ["{0.address}", "{0.client}"], ids=["gcs", "client"])
def test_no_driver_joins_without_the_token(head: RayNodes, address: str, tmp_path: Path) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": str(tmp_path)}
    joined = {}
    for name, given in {
        "none": {},
        "other": {**AUTHENTICATION, "RAY_AUTH_TOKEN": OTHER},
        "it": AUTHENTICATION,
    }.items():
        command = [sys.executable, "-c", JOIN, address.format(head)]
        done = subprocess.run(command, env=kept | given, capture_output=True, text=True, timeout=300, check=False)
        joined[name] = "joined" in done.stdout
    assert joined == {"none": False, "other": False, "it": True}


def test_a_sweep_leaves_the_token_nowhere(head: RayNodes, tmp_path: Path) -> None:
    """By `orch submit`, so that driver, trials, notes, MLflow and storage have all been there."""
    code, output = orch(head, tmp_path, "submit", *SWEEP, "--follow")
    assert code == 0, output[-3000:]
    told = [output, *(orch(head, tmp_path, *words)[1] for words in (("status",), ("doctor",)))]
    assert not [text for text in told if TOKEN in text]
    assert holding(tmp_path) == []
    assert holding(head.temporary) == []
    assert holding(head.folder) == []
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if readable(path)]
    assert len(lines) > 1
    assert not [line for line in lines if TOKEN.encode() in line]
    with urlopen(
        Request(f"{head.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {TOKEN}"}), timeout=30
    ) as answer:
        listed = answer.read().decode()
    assert "cmd-meld" in listed
    assert TOKEN not in listed
    (tmp_path / "control").write_text(TOKEN)
    assert holding(tmp_path) == [tmp_path / "control"]


def holding(folder: Path) -> list[Path]:
    """The files below it with the token in them, as it is; at least one file is looked at."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [path for path in files if TOKEN.encode() in path.read_bytes()]


def readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:  # its process has ended
        return False
    return True
