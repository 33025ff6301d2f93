"""MLflow's tracking server as it is deployed: its own process on a database, artifacts through its proxy."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from tests.helpers.services.process import Service, free_port

# A client that keeps its connection open would hold up the server's end.
HASTE = ["--uvicorn-opts", "--timeout-graceful-shutdown 3"]


@dataclass(frozen=True)
class MlflowServer:
    uri: str
    service: Service

    def stop(self) -> None:
        self.service.stop()

    def kill(self) -> None:
        self.service.kill()

    def start(self) -> None:
        """At the same address, on the same database."""
        self.service.start()


def healthy(uri: str) -> bool:
    with suppress(OSError), urlopen(f"{uri}/health", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


@contextmanager
def mlflow_server(
    folder: Path,
    backend_uri: str,
    artifacts: str,
    environment: Mapping[str, str] | None = None,
    *,
    host: str = "127.0.0.1",
    options: Sequence[str] = (),
) -> Iterator[MlflowServer]:
    """`artifacts`: where the server keeps them, a folder or s3://bucket/prefix, with AWS_* in `environment`.

    `options` go to `mlflow server`, for example ["--allowed-hosts", "mlflow.example.com"].
    """
    port = free_port(host)
    uri = f"http://{host}:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
        "--workers",
        "1",
        *HASTE,
    ]
    store = ["--backend-store-uri", backend_uri, "--artifacts-destination", artifacts, "--serve-artifacts"]
    # It must keep its own database, whatever a shell around the tests says.
    clean = {"MLFLOW_TRACKING_URI": "", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(environment or {})}
    service = Service([*command, *store, *options], folder / "mlflow.log", lambda: healthy(uri), clean)
    with service:
        yield MlflowServer(uri, service)
