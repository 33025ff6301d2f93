"""What several files share: one local Ray cluster, of four CPUs by name, S3 behind a proxy, an MLflow store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.launch.cluster import connected
from orchestrator.launch.placement import Cluster
from orchestrator.tracking.client import connect
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import s3_server


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connected(None, cpus=4) as found:
        yield found


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """In front of an S3 server, which the environment then names."""
    with (
        s3_server(tmp_path_factory.mktemp("s3")) as server,
        FaultProxy(server.endpoint) as proxy,
        pytest.MonkeyPatch.context() as patch,
    ):
        server.make_bucket("bucket")
        for name, value in server.through(proxy.endpoint).items():
            patch.setenv(name, value)
        yield proxy


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite store: making one costs a second, copying it nothing."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path
