"""MLflow as infra/base/tracking runs it: its own commands and environment, read-only, on PostgreSQL and S3."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import Observer
from orchestrator.resending import resend
from orchestrator.tracking import ping
from orchestrator.tracking.spool import waiting
from tests.helpers.mlflow_store import Runs, story
from tests.helpers.services.container import INFRA, kustomize, why_not
from tests.helpers.services.deployed_mlflow import (
    ADMIN_PASSWORD,
    COOKIE_KEY,
    DATABASE_PASSWORD,
    NEXT_PASSWORD,
    PASSWORD,
    PLANTED,
    USER,
    Deployed,
    ask,
    deployed,
    dumped,
    initialised,
)
from tests.helpers.services.postgres import Postgres, postgres
from tests.helpers.services.s3 import SECRET, S3Server
from tests.helpers.tracked import Tracked

TRIALS = 3


@pytest.fixture(scope="module")
def documents() -> list[dict[str, Any]]:
    why = why_not()
    if why:
        pytest.skip(why)
    return kustomize(INFRA / "base" / "tracking")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, Any]]) -> Iterator[Postgres]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres(folder) as server:
        initialised(documents, server, folder)
        yield server


@pytest.fixture(scope="module")
def mlflow(
    tmp_path_factory: pytest.TempPathFactory, documents: list[dict[str, Any]], database: Postgres, s3: S3Server
) -> Iterator[Deployed]:
    with deployed(documents, tmp_path_factory.mktemp("mlflow"), database, s3) as found:
        yield found


@pytest.fixture(autouse=True)
def _own_environment(no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")


API, ARTIFACTS = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
SEARCH = f"{API}/experiments/search"


@pytest.mark.parametrize(
    ("path", "body", "method"),
    [
        ("/", None, None),
        (f"{SEARCH}?max_results=1", None, None),
        ("/ajax-api/2.0/mlflow/experiments/search", {"max_results": 1}, None),
        (f"{API}/experiments/create", {"name": "anybody's"}, None),
        (f"{API}/users/list", None, None),
        (f"{API}/users/create", {"username": "me", "password": "a-long-password"}, None),
        (ARTIFACTS, None, None),
        (f"{ARTIFACTS}/0/x", {}, "PUT"),
        ("/graphql", {"query": "{__typename}"}, None),
        ("/metrics", None, None),
        ("/api/3.0/mlflow/traces/search", {}, None),
        ("/gateway/mlflow/v1/chat/completions", {}, None),
    ],
)
@pytest.mark.parametrize("login", [("", ""), (USER, "not-the-password"), ("admin", "password1234"), (USER, "")])
def test_nobody_gets_in_without_the_login(
    mlflow: Deployed, path: str, body: dict[str, Any] | None, method: str | None, login: tuple[str, str]
) -> None:
    status, text = ask(mlflow, path, body, user=login[0], password=login[1], method=method)
    assert status == 401, text


def test_the_probes_need_no_login_and_no_host_name(mlflow: Deployed) -> None:
    assert ask(mlflow, "/health", host="10.1.2.3:5000") == (200, "OK")


@pytest.mark.parametrize("host", ["mlflow.example.com", "169.254.169.254", "mlflow.orch.example.com:5000"])
def test_another_host_name_is_refused_with_the_login_too(mlflow: Deployed, host: str) -> None:
    assert ask(mlflow, f"{SEARCH}?max_results=1", user=USER, password=PASSWORD, host=host)[0] == 403


@pytest.mark.parametrize("host", ["mlflow:5000", "mlflow.orch:5000", "mlflow.orch.svc:5000", "localhost:15000"])
def test_its_own_names_are_taken(mlflow: Deployed, host: str) -> None:
    assert ask(mlflow, f"{SEARCH}?max_results=1", user=USER, password=PASSWORD, host=host)[0] == 200


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """As every pod of a sweep is by the Secret `orch-mlflow`."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)


@dataclass(frozen=True)
class Swept:
    runs: Runs
    said: str


def swept(folder: Path, uri: str, student: Path) -> Swept:
    """A whole sweep as the server at `uri` shows it, and all that the user read meanwhile."""
    said: list[str] = []

    class Said(Observer):
        def message(self, text: str, level: str = "info") -> None:
            said.append(text)

    tracked = Tracked.at(str(folder / "store"), uri, folder / "cache", student)
    tracked.whole(TRIALS, tracked.recorder(Said()))
    sent = resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: said.append(text))
    assert sent.refused == [] and waiting(tracked.settings.cache / "mlflow-spool") == 0
    return Swept(story(uri), "\n".join([*said, ping(uri)]))


@pytest.fixture(scope="module")
def sweep(mlflow: Deployed, student: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Swept, Path]:
    """With the folder of what its driver wrote."""
    folder = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_USERNAME", USER)
        patch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
        return swept(folder, mlflow.uri, student), folder


def test_a_sweep_writes_all_of_itself_as_an_ordinary_user(
    sweep: tuple[Swept, Path], s3: S3Server, student: Path, tmp_path: Path
) -> None:
    runs = sweep[0].runs
    assert runs == swept(tmp_path, f"sqlite:///{tmp_path}/alone/mlflow.db", student).runs
    assert len(runs) == TRIALS + 7
    keys = s3.objects("orch-auth")
    assert keys and all(key.startswith("store/mlflow-artifacts/") for key in keys)
    assert any(key.endswith("student.safetensors") for key in keys)


@pytest.mark.parametrize(
    ("path", "body", "method"),
    [
        ("users/create", {"username": "another", "password": "a-long-password"}, "POST"),
        ("users/update-password", {"username": "admin", "password": "a-long-password"}, "PATCH"),
        ("users/update-admin", {"username": USER, "is_admin": True}, "PATCH"),
        ("users/delete", {"username": "admin"}, "DELETE"),
        ("experiments/delete", {"experiment_id": "{theirs}"}, "POST"),
        ("experiments/update", {"experiment_id": "{theirs}", "new_name": "mine"}, "POST"),
        ("runs/create", {"experiment_id": "{theirs}"}, "POST"),
    ],
)
def test_a_sweep_cannot_do_what_is_not_its_own(
    mlflow: Deployed, path: str, body: dict[str, Any] | None, method: str
) -> None:
    name = f"theirs-{re.sub('[^a-z]', '-', path)}"
    status, made = ask(mlflow, f"{API}/experiments/create", {"name": name}, user="admin", password=ADMIN_PASSWORD)
    assert status == 200, made
    theirs = json.loads(made)["experiment_id"]
    given = {k: theirs if v == "{theirs}" else v for k, v in body.items()} if body else None
    assert ask(mlflow, f"{API}/{path}", given, user=USER, password=PASSWORD, method=method)[0] == 403
    status, text = ask(mlflow, f"{API}/users/get?username={USER}", user="admin", password=ADMIN_PASSWORD)
    assert status == 200 and json.loads(text)["user"]["is_admin"] is False


def test_a_second_start_changes_nothing_but_a_new_password(
    mlflow: Deployed, database: Postgres, s3: S3Server
) -> None:
    def state() -> tuple[list[bytes], dict[str, int]]:
        return dumped(database), s3.objects("orch-auth")

    def status(password: str) -> int:
        return ask(mlflow, f"{SEARCH}?max_results=1", user=USER, password=password)[0]

    before = state()
    mlflow.service.stop()
    assert re.search("made the user|changed the password", mlflow.prepared()) is None
    assert state() == before
    mlflow.service.start()
    assert status(PASSWORD) == 200
    assert state() == before
    mlflow.service.stop()
    assert "changed the password of orch" in mlflow.prepared(MLFLOW_TRACKING_PASSWORD=NEXT_PASSWORD)
    mlflow.service.start()
    assert (status(PASSWORD), status(NEXT_PASSWORD)) == (401, 200)
    mlflow.prepared()
    assert status(PASSWORD) == 200


def test_passwords_are_in_the_environment_and_nowhere_else(
    mlflow: Deployed, database: Postgres, s3: S3Server, sweep: tuple[Swept, Path]
) -> None:
    told, folder = sweep
    ask(mlflow, f"{SEARCH}?max_results=1", user=USER, password="wrong-" + PASSWORD)
    inside = Path(f"/proc/{mlflow.processes[-1]}/root")
    files = [one for place in ("tmp", "home/orch") for one in (inside / place).rglob("*") if one.is_file()]
    assert any(one.name == "mlflow-auth.ini" for one in files)
    files += [one for one in [mlflow.log, *folder.rglob("*")] if one.is_file()]
    files += [Path(f"/proc/{number}/cmdline") for number in mlflow.processes]
    found = {str(one): one.read_bytes() for one in files}
    found |= {"the database": b"\n".join(dumped(database)), "what was said": told.said.encode()}
    client = s3.client()
    for key in s3.objects("orch-auth"):
        found[key] = client.get_object(Bucket="orch-auth", Key=key)["Body"].read()
    assert len(found) > 50
    forms = [form for word in PLANTED for form in (word, base64.b64encode(f"{USER}:{word}".encode()).decode())]
    assert [(name, form) for form in forms for name, text in found.items() if form.encode() in text] == []
    # The search would have found them: there they are, where they belong.
    served = Path(f"/proc/{mlflow.processes[-1]}/environ").read_bytes()
    assert [word for word in PLANTED if word.encode() in served] == [DATABASE_PASSWORD, COOKIE_KEY, SECRET]


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({}, "asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        ({"USERNAME": USER, "PASSWORD": "wrong"}, "the login is refused; mend MLFLOW_TRACKING_USERNAME"),
        ({"USERNAME": USER}, "asks for a login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_a_wrong_login_is_one_sentence(
    mlflow: Deployed, monkeypatch: pytest.MonkeyPatch, login: dict[str, str], says: str
) -> None:
    for name, value in login.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with pytest.raises(SettingsError, match=says) as raised:
        ping(mlflow.uri)
    assert "\n" not in str(raised.value)


@pytest.mark.usefixtures("logged_in")
def test_an_experiment_of_somebody_else_is_one_sentence(mlflow: Deployed, student: Path, tmp_path: Path) -> None:
    """For example after MLFLOW_TRACKING_USERNAME has changed."""
    tracked = Tracked.at(str(tmp_path / "store"), mlflow.uri, tmp_path / "cache", experiment_prefix="taken-")
    name = "taken-" + tracked.spec.name
    status, text = ask(mlflow, f"{API}/experiments/create", {"name": name}, user="admin", password=ADMIN_PASSWORD)
    assert status == 200, text
    tracked.run(range(TRIALS), Observer())
    tracked.seal()
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_USERNAME") as raised:
        resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: None)
    assert "\n" not in str(raised.value)


def test_its_database_is_all_that_its_role_may_touch(database: Postgres) -> None:
    import psycopg2

    where = {"host": database.host, "port": database.port, "user": "mlflow", "password": DATABASE_PASSWORD}
    with psycopg2.connect(dbname="mlflow", **where) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'mlflow'")
        assert cursor.fetchone() == (False, False, False)
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("COPY (SELECT 1) TO PROGRAM 'true'")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(dbname="mlflow", **{**where, "password": "wrong"})
