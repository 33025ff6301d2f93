"""A PostgreSQL server of the Debian package, with a password, on a free port."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.services.process import Service, free_port

USER = "orch"
FAST = [
    "-c",
    "fsync=off",
    "-c",
    "synchronous_commit=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "shared_buffers=32MB",
]


def binaries() -> Path | None:
    """Where initdb and postgres are: on the path, or the newest that Debian's packages installed."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    versions = sorted(installed, key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    return versions[-1].parent if versions else None


@dataclass(frozen=True)
class Postgres:
    host: str
    port: int
    password: str
    service: Service

    @property
    def uri(self) -> str:
        return self.database("postgres")

    def database(self, name: str) -> str:
        return f"postgresql+psycopg2://{USER}:{self.password}@{self.host}:{self.port}/{name}"

    def make_database(self, name: str) -> str:
        """Returns its URI."""
        import psycopg2

        connection = psycopg2.connect(self.uri.replace("+psycopg2", ""))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        finally:
            connection.close()
        return self.database(name)

    def dump(self) -> bytes:
        """Everything that all its databases hold, as pg_dumpall writes it."""
        folder = binaries()
        assert folder is not None
        command = [str(folder / "pg_dumpall"), "-h", self.host, "-p", str(self.port), "-U", USER]
        environment = {**os.environ, "PGPASSWORD": self.password}
        return subprocess.run(command, check=True, capture_output=True, env=environment).stdout

    def stop(self) -> None:
        """As a fast shutdown: it waits for no client."""
        self.service.stop(signal.SIGINT)

    def start(self) -> None:
        self.service.start()


def answers(uri: str) -> bool:
    import psycopg2

    with suppress(psycopg2.OperationalError):
        psycopg2.connect(uri.replace("+psycopg2", ""), connect_timeout=5).close()
        return True
    return False


def initialise(initdb: Path, data: Path, password: str, log: Path, user: str | None) -> None:
    word = data.parent / "password"
    word.write_text(password)
    if user:
        for path in (data.parent, word):
            shutil.chown(path, user, user)
    command = [initdb, "-D", data, "-U", USER, "-A", "scram-sha-256", "--pwfile", word, "--no-sync", "-E", "UTF8"]
    done = subprocess.run(
        [*map(str, command), "--locale=C"],
        capture_output=True,
        text=True,
        check=False,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        cwd=data.parent,
    )
    word.unlink()
    log.write_text(done.stdout + done.stderr)
    if done.returncode:
        pytest.fail(f"initdb failed:\n{done.stderr}")


@contextmanager
def postgres(folder: Path, *, host: str = "127.0.0.1", port: int | None = None) -> Iterator[Postgres]:
    """Its data lie in a temporary folder of their own: PostgreSQL refuses root, and others cannot enter root's."""
    bin_folder = binaries()
    if bin_folder is None:
        pytest.skip("PostgreSQL is not installed; on Debian: make setup-services")
    user = "postgres" if os.geteuid() == 0 else None
    folder.mkdir(parents=True, exist_ok=True)
    port, password = port or free_port(host), secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="orch-pg-") as private:
        data = Path(private) / "data"
        initialise(bin_folder / "initdb", data, password, folder / "initdb.log", user)
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")  # machines of `namespaces`
        command = [str(bin_folder / "postgres"), "-D", str(data), "-h", host, "-p", str(port), "-k", private, *FAST]
        uri = f"postgresql+psycopg2://{USER}:{password}@{host}:{port}/postgres"
        service = Service(command, folder / "postgres.log", lambda: answers(uri), user=user)
        server = Postgres(host, port, password, service)
        with service:
            try:
                yield server
            finally:
                server.stop()
