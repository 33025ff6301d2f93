"""base/tracking and components/object-store: their parts agree with each other, and with what starts them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from orchestrator.infra.documents import Document
from orchestrator.infra.overlays import INFRA
from tests.infra.conftest import Rendered

START = INFRA / "docker" / "mlflow.sh"
PARTS = {"mlflow": "Deployment", "postgres": "StatefulSet", "object-store": "StatefulSet"}


@pytest.fixture(scope="session")
def local(rendered: Rendered) -> list[Document]:
    return rendered("local")


def found(documents: list[Document], kind: str, name: str) -> Mapping[str, Any]:
    (one,) = [one for one in documents if (one.kind, one.name) == (kind, name)]
    return one.data


def pod(documents: list[Document], part: str) -> Mapping[str, Any]:
    told: Mapping[str, Any] = found(documents, PARTS[part], part)["spec"]["template"]
    return told


def container(documents: list[Document], part: str, name: str) -> Mapping[str, Any]:
    spec = pod(documents, part)["spec"]
    (one,) = [one for one in [*spec.get("initContainers", []), *spec["containers"]] if one["name"] == name]
    told: Mapping[str, Any] = one
    return told


def variables(one: Mapping[str, Any]) -> dict[str, Any]:
    """What stands for each: its value, or where it comes from."""
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in one["env"]}


def settings(documents: list[Document]) -> Mapping[str, str]:
    told: Mapping[str, str] = found(documents, "ConfigMap", "orch-settings")["data"]
    return told


def named_secrets(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (value[kind]["name"] for kind in ("secretRef", "secretKeyRef") if kind in value)
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from named_secrets(one)


@pytest.mark.parametrize("part", PARTS)
def test_a_service_leads_to_its_pod(local: list[Document], part: str) -> None:
    service, template = found(local, "Service", part)["spec"], pod(local, part)
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = service["ports"]
    offered = container(local, part, part)["ports"]
    assert [(one["name"], one["containerPort"]) for one in offered] == [(port["targetPort"], port["port"])]
    assert service.get("type", "ClusterIP") == "ClusterIP"


@pytest.mark.parametrize(
    ("part", "secrets"),
    [
        ("mlflow", {"orch-mlflow", "orch-mlflow-admin", "orch-object-store", "orch-postgres"}),
        ("postgres", {"orch-postgres"}),
        ("object-store", {"orch-object-store"}),
    ],
)
def test_who_reads_which_secret(local: list[Document], part: str, secrets: set[str]) -> None:
    assert set(named_secrets(pod(local, part))) == secrets


def test_no_pod_of_a_sweep_reads_what_administers(local: list[Document]) -> None:
    (job,) = [one for one in local if one.kind == "RayJob"]
    read = set(named_secrets(dict(job.data)))
    assert "orch-mlflow" in read and not read & {"orch-mlflow-admin", "orch-postgres"}


def test_the_server_that_is_exposed_knows_neither_the_administrators_nor_the_sweeps_password(
    local: list[Document],
) -> None:
    server = container(local, "mlflow", "mlflow")
    assert not [name for name in variables(server) if re.search("ADMIN|TRACKING", name)]
    assert set(named_secrets(server["envFrom"])) == {"orch-object-store"}


def test_the_superusers_password_stays_with_the_database(local: list[Document]) -> None:
    keys = {
        part: {
            one["valueFrom"]["secretKeyRef"]["key"]
            for place in [
                *pod(local, part)["spec"].get("initContainers", []),
                *pod(local, part)["spec"]["containers"],
            ]
            for one in place["env"]
            if one.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == "orch-postgres"
        }
        for part in ("mlflow", "postgres")
    }
    assert keys == {"mlflow": {"MLFLOW_DB_PASSWORD"}, "postgres": {"POSTGRES_PASSWORD", "MLFLOW_DB_PASSWORD"}}


@pytest.mark.parametrize("name", ["prepare", "mlflow"])
def test_the_databases_address_is_what_is_made_there_and_holds_no_password(
    local: list[Document], name: str
) -> None:
    address = urlsplit(variables(container(local, "mlflow", name))["ORCH_MLFLOW_DATABASE"])
    made = found(local, "ConfigMap", "orch-postgres-init")["data"]["mlflow.sql"]
    assert address.password is None
    assert (address.hostname, address.port) == (
        "postgres",
        found(local, "Service", "postgres")["spec"]["ports"][0]["port"],
    )
    assert f"CREATE ROLE {address.username} LOGIN" in made
    assert f"CREATE DATABASE {address.path[1:]} OWNER {address.username}" in made


def test_the_server_takes_the_name_that_sweeps_know_it_by(local: list[Document]) -> None:
    address = urlsplit(settings(local)["MLFLOW_TRACKING_URI"])
    assert (address.hostname, address.port) == (
        "mlflow",
        found(local, "Service", "mlflow")["spec"]["ports"][0]["port"],
    )
    allowed = variables(container(local, "mlflow", "mlflow"))["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    assert any(fnmatch(address.netloc, one) for one in allowed)
    assert not [one for one in allowed if fnmatch("mlflow.example.com:5000", one) or one.startswith("*")]


@pytest.mark.parametrize("part", PARTS)
def test_services_set_no_variables_in_the_pods(local: list[Document], part: str) -> None:
    """The Service mlflow would set MLFLOW_PORT, which its server reads, to tcp://…"""
    assert pod(local, part)["spec"]["enableServiceLinks"] is False


def test_the_databases_files_are_on_its_volume(local: list[Document]) -> None:
    database = container(local, "postgres", "postgres")
    mounts = {one["name"]: one["mountPath"] for one in database["volumeMounts"]}
    data = variables(database)["PGDATA"]
    assert Path(mounts["data"]) in Path(data).parents, "the volume's own root may hold lost+found"
    claims = found(local, "StatefulSet", "postgres")["spec"]["volumeClaimTemplates"]
    assert [one["metadata"]["name"] for one in claims] == ["data"]


def test_every_pod_is_told_the_store_that_the_component_brings(local: list[Document]) -> None:
    address = urlsplit(settings(local)["AWS_ENDPOINT_URL"])
    port = found(local, "Service", "object-store")["spec"]["ports"][0]["port"]
    assert (address.hostname, address.port) == ("object-store", port)
    store = variables(container(local, "object-store", "object-store"))
    assert store["VGW_PORT"] == f":{port}"
    region = {"configMapKeyRef": {"name": "orch-settings", "key": "AWS_REGION"}}
    assert store["VGW_REGION"] == region, "it refuses what is signed for another"
    assert variables(container(local, "mlflow", "mlflow"))["AWS_DEFAULT_REGION"] == region


def test_without_the_component_the_clusters_own_s3_is_taken(rendered: Rendered) -> None:
    documents = rendered("gpu")
    assert "AWS_ENDPOINT_URL" not in settings(documents)
    assert [one.title for one in documents if one.name == "object-store" and one.kind != "NetworkPolicy"] == []
    told = variables(container(documents, "mlflow", "mlflow"))["AWS_ENDPOINT_URL"]
    assert told["configMapKeyRef"]["optional"] is True


def test_one_process_has_the_store_for_itself_in_a_version_whose_conditional_writes_are_atomic(
    local: list[Document],
) -> None:
    """v1.7 looked whether an object exists before it took its body, so that several writers could win a lease."""
    assert found(local, "StatefulSet", "object-store")["spec"]["replicas"] == 1
    image = container(local, "object-store", "object-store")["image"]
    version = re.fullmatch(r".*/versitygw:v(\d+)\.(\d+)\.(\d+)", image)
    assert version and tuple(map(int, version.groups())) >= (1, 8, 0)


@pytest.mark.parametrize("storage", ["s3://orch/store", "s3://orch", "s3://orch/a/b/"])
def test_the_bucket_is_made_and_made_again(local: list[Document], tmp_path: Path, storage: str) -> None:
    shell, flags, script = container(local, "object-store", "bucket")["command"]
    here = script.replace("/data/", f"{tmp_path}/")
    assert here != script
    for _ in range(2):
        subprocess.run([shell, flags, here], check=True, env={"ORCH_STORAGE": storage, "PATH": "/usr/bin:/bin"})
        assert [one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*")] == ["orch"]


DATABASE = {"ORCH_MLFLOW_DATABASE": "postgresql+psycopg2://mlflow@postgres:5432/mlflow"}
USERS = {
    "MLFLOW_AUTH_ADMIN_PASSWORD": "planted-admin-word",
    "MLFLOW_TRACKING_USERNAME": "orch",
    "MLFLOW_TRACKING_PASSWORD": "planted-user-word",
}


@pytest.mark.parametrize(
    ("command", "environment", "says"),
    [
        ("prepare", {}, "ORCH_MLFLOW_DATABASE is not set"),
        ("prepare", DATABASE, "MLFLOW_AUTH_ADMIN_PASSWORD is not set"),
        ("serve", DATABASE, "MLFLOW_FLASK_SERVER_SECRET_KEY is not set"),
        (
            "prepare",
            DATABASE | USERS | {"MLFLOW_TRACKING_PASSWORD": "planted"},
            "MLFLOW_TRACKING_PASSWORD is shorter",
        ),
        ("prepare", DATABASE | USERS | {"MLFLOW_TRACKING_USERNAME": "admin"}, "MLFLOW_TRACKING_USERNAME is admin"),
        (
            "prepare",
            USERS | {"ORCH_MLFLOW_DATABASE": "postgresql://mlflow:planted@postgres/mlflow"},
            "ORCH_MLFLOW_DATABASE holds a password",
        ),
        ("other", DATABASE, "usage: orch-mlflow prepare|serve"),
    ],
)
def test_a_start_that_cannot_succeed_says_why(
    tmp_path: Path, command: str, environment: dict[str, str], says: str
) -> None:
    given = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), **environment}
    done = subprocess.run([START, command], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.startswith(f"orch-mlflow: {says}") and done.stderr.count("\n") == 1
    assert "planted" not in done.stderr
