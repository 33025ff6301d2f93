"""The servers of these tests are the real ones, come back where they are to, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.services.mlflow import MlflowServer, mlflow_server
from tests.helpers.services.postgres import Postgres, answers, postgres
from tests.helpers.services.process import Service, ServiceError
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server

# A daemon as servers make them: it has left its parent, its group and its session.
DAEMON = "(setsid sleep 1000 & echo $! > {file}); sleep 1000"


def eventually(holds: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_service_takes_its_daemons_with_it(tmp_path: Path, how: str) -> None:
    file = tmp_path / "pid"
    with Service(["sh", "-c", DAEMON.format(file=file)], tmp_path / "log", file.exists) as service:
        assert eventually(lambda: bool(file.read_text()))
        pid = int(file.read_text())
        assert lives(pid)
        getattr(service, how)()
        assert not lives(pid)
        assert not service.running


def test_a_killed_test_leaves_no_service(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom tests.helpers.services.process import Service\n"
        f"Service(['sh', '-c', {DAEMON.format(file=file)!r}], Path({str(tmp_path / 'log')!r})).start()\n"
        "time.sleep(1000)"
    )
    test = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": "."})
    try:
        assert eventually(lambda: file.exists() and bool(file.read_text()))
        pid = int(file.read_text())
        assert lives(pid)
    finally:
        test.send_signal(signal.SIGKILL)
        test.wait()
    assert eventually(lambda: not lives(pid))


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    service = Service(["sh", "-c", "echo no such thing; exit 3"], tmp_path / "log", lambda: False)
    with pytest.raises(ServiceError, match=r"(?s)ended with 3.*no such thing"):
        service.start()


def test_postgres_comes_back_with_its_data(tmp_path: Path) -> None:
    import psycopg2

    with postgres(tmp_path) as server:
        uri = server.make_database("one")
        plain = uri.replace("+psycopg2", "")
        with psycopg2.connect(plain) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        server.stop()
        assert not answers(uri)
        server.start()
        with psycopg2.connect(plain) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*), sum(n) FROM t")
            assert cursor.fetchone() == (1000, 500_500)
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(plain.replace(server.password, "guessed"))


def test_mlflow_keeps_runs_in_postgres_and_artifacts_in_s3(
    mlflow: MlflowServer, pg: Postgres, s3: S3Server, tmp_path: Path
) -> None:
    import psycopg2
    from mlflow.tracking import MlflowClient

    client = MlflowClient(mlflow.uri)
    run = client.create_run(client.create_experiment("services")).info.run_id
    client.log_metric(run, "f1", 0.5)
    (tmp_path / "table.txt").write_text("a b c")
    client.log_artifact(run, str(tmp_path / "table.txt"))
    with (
        psycopg2.connect(pg.database("mlflow").replace("+psycopg2", "")) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT value FROM metrics WHERE run_uuid = %s", (run,))
        assert cursor.fetchall() == [(0.5,)]
    assert [size for key, size in s3.objects("mlflow-artifacts").items() if key.endswith("table.txt")] == [5]


def test_an_mlflow_server_comes_back_where_it_was(tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    with (
        mlflow_server(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts")) as server,
        FaultProxy(server.uri) as proxy,
    ):
        made = MlflowClient(server.uri).create_experiment("stays")
        server.kill()
        with pytest.raises(OSError):
            from urllib.request import urlopen

            urlopen(f"{server.uri}/health")
        server.start()
        found = MlflowClient(proxy.endpoint).get_experiment_by_name("stays")
        assert found.experiment_id == made
        assert proxy.requests[-1].status == 200
