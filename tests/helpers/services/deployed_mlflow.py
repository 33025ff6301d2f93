"""The pod `mlflow` of infra/base/tracking as processes of ours, with planted passwords, on PostgreSQL and S3."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.helpers.services.container import INFRA, Container, named
from tests.helpers.services.mlflow import healthy
from tests.helpers.services.postgres import Postgres, binaries
from tests.helpers.services.process import Service, free_port
from tests.helpers.services.s3 import KEY, REGION, SECRET, S3Server

USER, PASSWORD, NEXT_PASSWORD = "orch", "planted-user-password", "planted-user-password-2"
ADMIN_PASSWORD, DATABASE_PASSWORD, COOKIE_KEY = "planted-admin-word", "planted-database-word", "planted-cookie-key"
PLANTED = (PASSWORD, ADMIN_PASSWORD, DATABASE_PASSWORD, COOKIE_KEY, SECRET)
START = INFRA / "docker" / "mlflow.sh"


@dataclass(frozen=True)
class Deployed:
    """The pod `mlflow`, its init container run and its container running."""

    uri: str
    service: Service
    serve: Container
    prepare: Container
    log: Path

    def prepared(self, **environment: str) -> str:
        """The init container once more; returns what it printed."""
        given = self.prepare.given(**environment)
        done = subprocess.run(
            given.process, env={**os.environ, **given.environment}, capture_output=True, text=True, check=False
        )
        with self.log.open("a") as log:
            log.write(done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def processes(self) -> list[int]:
        """All of the container's, as we see them."""
        found, ahead = [], [self.service.pid]
        while ahead:
            found.append(ahead.pop())
            ahead += [int(one) for one in Path(f"/proc/{found[-1]}/task/{found[-1]}/children").read_text().split()]
        return found


def secrets_of() -> dict[str, dict[str, str]]:
    return {
        "orch-mlflow": {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD},
        "orch-mlflow-admin": {
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": COOKIE_KEY,
        },
        "orch-postgres": {"MLFLOW_DB_PASSWORD": DATABASE_PASSWORD},
        "orch-object-store": {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
    }


def initialised(documents: list[dict[str, Any]], server: Postgres, folder: Path) -> None:
    """As the image of PostgreSQL does with what lies in its folder for that."""
    script = folder / "mlflow.sql"
    script.write_text(named(documents, "ConfigMap", "orch-postgres-init")["data"]["mlflow.sql"])
    where = ["-h", server.host, "-p", str(server.port), "-U", "orch", "-d", "postgres"]
    tools = binaries()
    assert tools is not None
    words = {"PGPASSWORD": server.password, "MLFLOW_DB_PASSWORD": DATABASE_PASSWORD}
    command = [str(tools / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", *where, "-f", str(script)]
    subprocess.run(command, check=True, env={**os.environ, **words})


@contextmanager
def deployed(documents: list[dict[str, Any]], folder: Path, server: Postgres, s3: S3Server) -> Iterator[Deployed]:
    workload = named(documents, "Deployment", "mlflow")
    bucket = s3.make_bucket("orch-auth")
    settings = {"ORCH_STORAGE": f"{bucket}/store", "AWS_REGION": REGION, "AWS_ENDPOINT_URL": s3.endpoint}
    port = free_port()
    elsewhere = {"ORCH_MLFLOW_PORT": str(port), "AWS_EC2_METADATA_DISABLED": "true"}

    def container(name: str) -> Container:
        found = Container.of(workload, name, {"orch-settings": settings}, secrets_of()).running(START)
        database = found.environment["ORCH_MLFLOW_DATABASE"]
        assert "@postgres:5432/" in database
        here = database.replace("@postgres:5432/", f"@{server.host}:{server.port}/")
        return found.given(ORCH_MLFLOW_DATABASE=here, **elsewhere)

    uri, log = f"http://127.0.0.1:{port}", folder / "mlflow.log"
    serve = container("mlflow")
    service = Service(serve.process, log, lambda: healthy(uri), serve.environment)
    found = Deployed(uri, service, serve, container("prepare"), log)
    assert "made the user admin" in found.prepared()
    with service:
        yield found


def ask(
    mlflow: Deployed,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    user: str = "",
    password: str = "",
    host: str = "",
    method: str | None = None,
) -> tuple[int, str]:
    """The status and the text of the server's answer."""
    headers = {"Content-Type": "application/json"} | ({"Host": host} if host else {})
    if user:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(mlflow.uri + path, data, headers, method=method), timeout=60) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except HTTPError as error:
        return error.code, error.read().decode(errors="replace")


def dumped(server: Postgres) -> list[bytes]:
    """Without the words that pg_dump makes up anew each time."""
    return [line for line in server.dump().splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]
