"""`infra/README.md`: its figures are the manifests', its components and commands are there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from orchestrator.infra.demand import demand
from orchestrator.infra.documents import ray_document
from orchestrator.infra.overlays import INFRA, components, included, overlay_folder, overlays
from orchestrator.infra.render import Request, render
from tests.helpers.cli import orch
from tests.infra.conftest import Rendered

TEXT = (INFRA / "README.md").read_text(encoding="utf-8")
ROOT = Path(__file__).parents[2]


def rows(heading: str) -> dict[str, list[str]]:
    """The table under a heading, by its first cell."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"
    ]
    return {first.strip("`"): rest for first, *rest in cells[2:]}


@pytest.mark.parametrize("overlay", overlays())
def test_what_an_overlay_costs_is_what_it_asks_for(overlay: str, rendered: Rendered) -> None:
    found = rendered(overlay)
    now, most, sweep = demand(found), demand(found, grown=True), ray_document(found)
    assert sweep is not None
    hours, tries = sweep.spec["activeDeadlineSeconds"] / 3600, 1 + sweep.spec["backoffLimit"]
    assert rows("What it costs")[overlay] == [
        *(str(now), f"{now.volumes:.0f} GiB", str(most) if most != now else "–", f"{hours:g} h, {tries} attempts")
    ]


def test_every_component_is_told_with_the_overlays_that_have_it() -> None:
    told = rows("What there is")
    assert set(told) == set(components())
    for name, (_, where) in told.items():
        having = {one for one in overlays() if name in {folder.name for folder in included(overlay_folder(one))}}
        assert (set(overlays()) if where == "all four" else set(re.findall(r"`(.+?)`", where))) == having


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("orch infra")]


def test_commands_are_ones_that_can_be_given() -> None:
    assert len(commands()) > 5
    for words in commands():
        told = orch("infra", words[2], "--help")
        assert told.code == 0
        for option in (word for word in words if word.startswith("--")):
            assert option in told.out, words


@pytest.mark.usefixtures("kubectl")
def test_what_is_applied_can_be_rendered() -> None:
    applied = [words[3:] for words in commands() if words[2] == "apply"]
    assert len(applied) > 3
    for words in applied:
        done = orch("infra", "render", *(word for word in words if word != "--again"))
        kind = "RayCluster" if "long-lived" in words else "RayJob"
        assert (done.code, f"kind: {kind}\n" in done.out) == (0, True), done.err


@pytest.mark.usefixtures("kubectl")
def test_the_overlay_of_ones_own_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(# my-cluster.*?)```", TEXT, re.DOTALL)
    folder = tmp_path / "my-cluster"
    folder.mkdir()
    shutil.copytree(INFRA, tmp_path / "infra")
    (folder / "kustomization.yaml").write_text(block, encoding="utf-8")
    text = render(Request(str(folder), "cmd-meld"))
    assert "registry.example/team/orch:0.1.0-gpu" in text
    assert "eks.amazonaws.com/role-arn" in text
    assert "replicas: 4" in text
