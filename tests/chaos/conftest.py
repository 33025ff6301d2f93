"""Servers that the whole session shares; a test that stops or kills one starts its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.helpers.services.mlflow import MlflowServer, mlflow_server
from tests.helpers.services.postgres import Postgres, postgres
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("services")


@pytest.fixture(scope="session")
def s3(services_folder: Path) -> Iterator[S3Server]:
    with s3_server(services_folder) as server:
        yield server


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return count()


@pytest.fixture
def bucket(s3: S3Server, _numbers: Iterator[int]) -> str:
    """The name of a bucket of this test's own."""
    name = f"orch-{next(_numbers)}"
    s3.make_bucket(name)
    return name


@pytest.fixture
def s3_proxy(s3: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def pg(services_folder: Path) -> Iterator[Postgres]:
    with postgres(services_folder) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow(services_folder: Path, s3: S3Server, pg: Postgres) -> Iterator[MlflowServer]:
    """On PostgreSQL, artifacts through its proxy in S3."""
    artifacts = s3.make_bucket("mlflow-artifacts")
    with mlflow_server(services_folder, pg.make_database("mlflow"), artifacts, s3.environment) as server:
        yield server
