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
from tests.helpers.services.namespaces import namespaces
from tests.helpers.services.postgres import Postgres, answers, postgres
from tests.helpers.services.process import Service, ServiceError
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.ray import ray_nodes
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


HOSTS = "[(node['NodeName'], node['NodeManagerAddress']) for node in ray.nodes() if node['Alive']]"
# On each node: its host name, and how often that file in its /tmp was written.
WRITE = """ray.get([
    ray.remote(lambda: (
        __import__('socket').gethostname(),
        (__import__('pathlib').Path('/tmp/mark').open('a').write('x'), len(open('/tmp/mark').read()))[1],
    )).options(num_cpus=0, resources={'node:' + node['NodeManagerAddress']: 0.01}).remote()
    for node in ray.nodes()
])"""


def test_a_cluster_loses_a_killed_node_and_gains_an_added_one(tmp_path: Path) -> None:
    with ray_nodes(tmp_path, [1, 1, 1], {"MARK": "of the nodes"}) as nodes:
        assert nodes.alive() == {"node-0", "node-1", "node-2"}
        assert nodes.ask("ray.cluster_resources()['CPU']") == 3
        assert nodes.ask("ray.get(ray.remote(lambda: __import__('os').environ['MARK']).remote())") == "of the nodes"
        nodes.kill(1)
        nodes.until(lambda: nodes.alive() == {"node-0", "node-2"}, "death of node-1")
        assert nodes.add(2) == nodes.last == 3
        assert {name for name, _ in nodes.ask(HOSTS)} == nodes.alive() == {"node-0", "node-2", "node-3"}
        assert nodes.ask("ray.cluster_resources()['CPU']") == 4
        made = (
            "ray.get(ray.util.placement_group([{'CPU': 2}], lifetime='detached', name='held').ready()) is not None"
        )
        assert nodes.ask(made) is True
        assert [group["state"] for group in nodes.placement_groups()] == ["CREATED"]
    assert list((tmp_path / "ray-logs").glob("raylet*.out"))


def test_machines_have_their_own_network_names_and_tmp(tmp_path: Path, s3: S3Server) -> None:
    with namespaces(tmp_path, 2) as machines:
        assert len(set(machines.addresses)) == 2
        shown = []
        for index in (0, 1):
            command = "hostname; touch /tmp/here-$(hostname); ls /tmp; ls /proc | grep -c '^[0-9]'; hostname -i"
            program = machines.popen(index, ["sh", "-c", command])
            assert program.wait(30) == 0
            shown.append(program.output().split())
        for index, (name, file, processes, address) in enumerate(shown):
            assert (name, file, address) == (f"node-{index}", f"here-node-{index}", machines.addresses[index])
            assert int(processes) < 10
        port = s3.endpoint.rpartition(":")[2]
        ours = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        program = machines.popen(0, [sys.executable, "-c", ours])
        assert program.wait(30) == 1
        assert "ConnectionRefusedError" in program.output()
        sleeping = machines.popen(1, ["sleep", "1000"])
        machines.kill(1)
        assert sleeping.wait(10) != 0
    left = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert f"orch{os.getpid()}" not in left


def test_a_cluster_over_a_network(tmp_path: Path) -> None:
    with namespaces(tmp_path, 2) as machines, ray_nodes(tmp_path, [1, 1], machines=machines) as nodes:
        assert sorted(nodes.ask(HOSTS)) == [["node-0", machines.addresses[0]], ["node-1", machines.addresses[1]]]
        for times in (1, 2):
            assert sorted(nodes.ask(WRITE, machine=times - 1)) == [["node-0", times], ["node-1", times]]
        machines.unplug(1)
        nodes.until(lambda: nodes.alive() == {"node-0"}, "end of the unplugged node")
    assert list((tmp_path / "ray-logs-node-1").glob("raylet*.out"))
