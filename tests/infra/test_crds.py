"""The trimmed schemas of KubeRay's kinds, held against the full CRDs."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.infra.crds import trimmed
from orchestrator.infra.documents import Document
from orchestrator.infra.overlays import INFRA
from orchestrator.infra.schemas import Schemas
from tests.infra.conftest import Rendered

CRDS = Path(__file__).parents[3] / "shared" / "data" / "kuberay-crds"


@pytest.fixture(scope="module")
def crds() -> Path:
    if not CRDS.is_dir():
        pytest.skip(f"{CRDS} with KubeRay's full CRDs is not there")
    return CRDS


def crd(folder: Path, kind: str) -> Mapping[str, Any]:
    text = (folder / f"ray.io_{kind}.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


def test_the_trimmed_schemas_are_those_of_the_crds(crds: Path) -> None:
    kept = json.loads((INFRA / "schemas" / "kuberay-1.7.json").read_text(encoding="utf-8"))
    del kept["$comment"]
    assert kept == trimmed([crd(crds, "rayclusters"), crd(crds, "rayjobs")])


def with_value(document: Document, path: list[str], value: object) -> Document:
    data: Any = copy.deepcopy(document.data)
    below = data
    for key in path[:-1]:
        below = below[key]
    below[path[-1]] = value
    return Document(data)


WRONG = [
    (["spec", "backoffLimit"], "2", "'2' is not of type integer"),
    (["spec", "rayClusterSpec", "authOptions", "mode"], "tokens", "'tokens' is not 'disabled' or 'token'"),
    (["spec", "rayClusterSpec", "rayVersoin"], "2.60.0", "there is no such field"),
    (["spec", "rayClusterSpec", "headGroupSpec", "template", "spec", "container"], [], "there is no such field"),
    (["spec", "preRunningDeadlineSeconds"], 0, "0 is less than the minimum of 1"),
    (["spec", "rayClusterSpec", "headGroupSpec"], {}, "template must be given"),
]


@pytest.mark.parametrize(("path", "value", "told"), WRONG)
@pytest.mark.parametrize("full", [False, True])
def test_what_both_refuse(
    path: list[str], value: object, told: str, *, full: bool, rendered: Rendered, request: pytest.FixtureRequest
) -> None:
    schemas = Schemas(request.getfixturevalue("crds") if full else None)
    (job,) = [one for one in rendered("local") if one.kind == "RayJob"]
    assert list(schemas.findings(job)) == []
    (found,) = schemas.findings(with_value(job, path, value))
    assert found.told == told
    assert found.path == ".".join(path)
    assert found.document == "RayJob sweep"
