"""`make kind`, `operator`, `image` and `push`: what is called, in which order, with files that are there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator import __version__

ROOT = Path(__file__).parents[2]
TOOLS = ("kind", "kubectl", "helm", "docker")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs that note how they are called; `kind get clusters` says what stands in its file."""
    for name in TOOLS:
        program = tmp_path / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {shlex.quote(str(tmp_path / "calls"))}\n'
            f'case "{name} $*" in "kind get clusters") cat {shlex.quote(str(tmp_path / "clusters"))};; '
            '"kubectl get namespace orch") exit 1;; esac\n'
        )
        program.chmod(0o755)
    (tmp_path / "clusters").write_text("other\n")
    return tmp_path


def called(tools: Path, *arguments: str, code: int = 0) -> list[str]:
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    path = tools / "calls"
    found = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    for call in found:
        for word in re.findall(r"infra/\S+", call):
            assert (ROOT / word).is_file(), call
    return found


def test_a_laptop_gets_a_cluster_once_and_the_operator_as_often_as_asked(tools: Path) -> None:
    calls = called(tools, "kind")
    assert [call.split(" --")[0] for call in calls] == [
        "kind get clusters",
        "kind create cluster",
        "kubectl get namespace orch",
        "kubectl create namespace orch",
        "helm upgrade",
    ]
    (tools / "clusters").write_text("orch\n")
    assert "kind create cluster --config infra/kind.yaml" not in called(tools, "kind")


def test_the_operator_is_the_chart_that_its_values_are_written_for(tools: Path) -> None:
    call = shlex.split(called(tools, "operator")[-1])
    file = ROOT / call[call.index("--values") + 1]
    values = yaml.safe_load(file.read_text())
    chart = call[call.index("--version") + 1]
    assert (values["image"]["tag"], f"chart {chart}" in file.read_text()) == (f"v{chart}", True)
    assert (ROOT / f"infra/schemas/kuberay-{chart.rpartition('.')[0]}.json").is_file()


def test_the_image_has_the_projects_version_and_goes_into_the_laptops_cluster(tools: Path) -> None:
    tag = f"orch:{__version__}-cpu"
    build = f"--file infra/docker/Dockerfile.cpu --tag {tag} ."
    assert [call for call in called(tools, "image") if not call.startswith("kind get")] == [f"docker build {build}"]
    (tools / "clusters").write_text("orch\n")
    assert called(tools, "image", "PIP_CONF=/my/pip.conf") == [
        f"docker build --secret id=pip,src=/my/pip.conf {build}",
        "kind get clusters",
        f"kind load docker-image {tag} --name orch",
    ]


def test_both_images_are_pushed_and_a_registry_is_asked_for(tools: Path) -> None:
    pushed = [call for call in called(tools, "push", "REGISTRY=r.example/t") if call.startswith("docker push")]
    assert pushed == [f"docker push r.example/t/orch:{__version__}-{kind}" for kind in ("cpu", "gpu")]
    assert called(tools, "push", code=2) == []
