"""`orch infra check`: every overlay alone and with each component; what is wrong is one line with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.infra.check import Checked, check, requests
from orchestrator.infra.documents import Document, documents
from orchestrator.infra.overlays import INFRA, addable, components, overlay_folder, overlays
from orchestrator.infra.render import Request
from orchestrator.infra.schemas import Schemas
from orchestrator.infra.spelling import known, misspelt
from tests.helpers.cli import bare_machine, orch
from tests.infra.conftest import Rendered

pytestmark = pytest.mark.usefixtures("kubectl")


@pytest.fixture(scope="module")
def everything() -> list[Checked]:
    return list(check(requests((), (), None)))


def test_every_overlay_is_sound_alone_and_with_each_component(everything: list[Checked]) -> None:
    assert [str(fault) for one in everything for fault in one.findings] == []
    titles = {one.title for one in everything}
    assert titles == set(overlays()) | {
        f"{overlay} + {name}" for overlay in overlays() for name in addable(overlay_folder(overlay))
    }
    assert min(one.documents for one in everything) > 20


@pytest.mark.parametrize("kubernetes", ["1.32", "1.34", "1.37"])
def test_what_is_applied_is_known_to_old_and_new_kubernetes(kubernetes: str, rendered: Rendered) -> None:
    schemas = Schemas(kubernetes=kubernetes)
    found = [one for overlay in ("local", "gpu-spot") for one in rendered(overlay, "monitoring", "data")]
    assert [str(fault) for one in found for fault in schemas.findings(one)] == []
    (claim,) = [one.data for one in found if one.kind == "PersistentVolumeClaim"][:1]
    misspelt = Document({**claim, "spec": {**claim["spec"], "accessmodes": []}})
    assert [fault.path for fault in schemas.findings(misspelt)] == ["spec.accessmodes"]


def test_no_component_is_left_out(everything: list[Checked]) -> None:
    added = {one.title.partition(" + ")[2] for one in everything}
    unused = set(components()) - added
    assert all((INFRA / "overlays" / "local" / "kustomization.yaml").read_text().count(name) for name in unused)


def own_overlay(folder: Path, *patches: dict[str, object]) -> str:
    """A user's overlay over `local`, with JSON patches of its RayJob."""
    folder.mkdir(exist_ok=True)
    base = Path("..", *[".."] * len(folder.resolve().parts), *(INFRA / "overlays" / "local").parts[1:])
    content = {
        "resources": [str(base)],
        "patches": [{"target": {"kind": "RayJob"}, "patch": json.dumps(patches)}] if patches else [],
    }
    (folder / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_a_finding_is_one_line_with_document_path_value_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_machine(tmp_path, monkeypatch)
    patches: list[dict[str, object]] = [
        {"op": "add", "path": "/spec/backoffLimit", "value": "two"},
        {"op": "add", "path": "/spec/rayClusterSpec/workerGroupSpecs/0/minReplica", "value": 1},
        {"op": "remove", "path": "/spec/rayClusterSpec/authOptions"},
    ]
    overlay = own_overlay(tmp_path / "mine", *patches)
    done = orch("infra", "check", overlay, "--with", "spot")
    assert done.code == 2
    assert done.out == ""
    lines = done.err.splitlines()
    where = f"{overlay} + spot: RayJob sweep: "
    assert f"{where}spec.backoffLimit: 'two' is not of type integer; give of type integer" in lines
    field = "spec.rayClusterSpec.workerGroupSpecs[0].minReplica: there is no such field; it is spelled minReplicas"
    assert where + field in lines
    assert any(line.startswith(f"{where}spec.rayClusterSpec.authOptions.mode: None: who reaches") for line in lines)
    assert lines[-1] == "error: 3 findings in 1 renderings"


def test_an_overlay_that_kustomize_refuses_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [absent.yaml]\n", encoding="utf-8")
    (one,) = check([Request(str(tmp_path))])
    (fault,) = one.findings
    assert "absent.yaml" in fault.told


def test_an_experiment_is_checked_on_every_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)
    done = orch("infra", "check", "local", "--with", "spot", "--experiment", "cmd-meld")
    asked = "asks for 2.0 CPUs, 9.9 GiB, 30 GiB of volumes"
    assert (done.code, done.out) == (0, f"local + spot: ok, 26 documents; {asked}\n")
    assert "no experiment 'cmd-medl'" in orch("infra", "check", "local", "--experiment", "cmd-medl").err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "{apiVersion: example.org/v1, kind: Sweep, metadata: {name: a}}",
            "there is no schema of example.org/v1 Sweep",
        ),
        ("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {port: []}}", "there is no such field"),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}}",
            "'http' is not of type integer",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{name: http}]}}",
            "port must be given",
        ),
        (
            "{apiVersion: kueue.x-k8s.io/v1beta2, kind: LocalQueue, metadata: {name: a}, spec: {queue: b}}",
            "clusterQueue must be given",
        ),
    ],
)
def test_what_schemas_refuse(text: str, told: str) -> None:
    (document,) = documents(text)
    assert told in [fault.told for fault in Schemas().findings(document)]


def test_the_libraries_own_names_are_known() -> None:
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES as OF_AWS
    from mlflow import environment_variables as of_mlflow

    assert {name for name in vars(of_mlflow) if name.startswith("MLFLOW_")} - known() == set()
    names = [entry[1] for entry in OF_AWS.values()]
    flat = {one for name in names for one in (name if isinstance(name, list) else [name])}
    assert {str(name) for name in flat if str(name).startswith("AWS_")} - known() == set()
    assert {"AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "ORCH_STORAGE", "ORCH_CORPORA__MELD"} <= known()
    assert misspelt("PATH") == misspelt("HF_HOME") == ""
