"""Servers that the whole session shares, beside tests/conftest.py's S3; a test that stops one starts its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.services.mlflow import MlflowServer, mlflow_server
from tests.helpers.services.postgres import Postgres, postgres
from tests.helpers.services.s3 import S3Server
from tests.helpers.transfer_sets import synthetic
from trainables.evaluation import export
from trainables.spec import RunSpec, StandInSpec
from trainables.spec.student import AudioTextTransformer
from trainables.students import build_student


@pytest.fixture(scope="session")
def services_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("services")


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


@pytest.fixture(scope="session")
def student(services_folder: Path) -> Path:
    """What `confirm` stores of a model."""
    spec = AudioTextTransformer(width=16, heads=2)
    data = synthetic(services_folder / "data", modalities=("audio", "text"), missing=0)
    run = RunSpec(corpus=StandInSpec(modalities=("audio", "text")), student=spec)
    export(build_student(run.student, data, seed=0), run, data, services_folder / "exported")
    return services_folder / "exported"


@pytest.fixture
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's login at a tracking server, and nothing of S3: only the server knows where artifacts are."""
    for name in [*os.environ, "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"]:
        if name.startswith(("AWS_", "MLFLOW_TRACKING_")):
            monkeypatch.setenv(name, "")  # so that it is put back, whoever sets it meanwhile
            monkeypatch.delenv(name)
