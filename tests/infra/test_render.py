"""`orch infra render`: what is printed is what kustomize gives of the overlay, with the experiment laid on it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.commands import sweep as sweep_command
from orchestrator.errors import ExperimentError, ManifestError
from orchestrator.infra.documents import Document, documents, named, pods
from orchestrator.infra.entrypoint import options, parse
from orchestrator.infra.given_settings import credential
from orchestrator.infra.overlays import INFRA, addable, overlay_folder, overlays
from orchestrator.infra.render import Request, render
from tests.architecture.test_cold_imports import HEAVY
from tests.helpers.cli import bare_machine, orch
from tests.infra.conftest import Rendered

pytestmark = pytest.mark.usefixtures("kubectl")


def job(text: str) -> Document:
    (found,) = [one for one in documents(text) if one.kind == "RayJob"]
    return found


def entrypoint(text: str) -> list[str]:
    return shlex.split(str(job(text).spec["entrypoint"]))


@pytest.mark.parametrize("overlay", overlays())
def test_an_overlay_as_it_stands_is_what_kubectl_gives(overlay: str, kubectl: str) -> None:
    folder = INFRA / "overlays" / overlay
    direct = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=True)
    assert render(Request(overlay)) == direct.stdout
    assert render(Request(str(folder))) == direct.stdout


def test_the_same_request_gives_the_same_bytes() -> None:
    request = Request("local", "cmd-meld", ("run.seed=20",), components=("monitoring", "spot"))
    assert render(request) == render(request)


def test_an_experiment_is_laid_on_the_rayjob_and_nothing_else() -> None:
    before = {(one.kind, one.name): one.data for one in documents(render(Request("local")))}
    text = render(Request("local", "meta-meld", ("run.training.epochs=30",), "laptop", 5, 7))
    after = {(one.kind, one.name): one.data for one in documents(text)}
    (gone,), (new,) = before.keys() - after.keys(), after.keys() - before.keys()
    assert (gone, new) == (("RayJob", "sweep"), ("RayJob", "meta-meld"))
    assert all(after[key] == before[key] for key in before.keys() & after.keys())
    changed, plain = job(text), before[gone]
    assert entrypoint(text) == [
        *("orch-entrypoint", "sweep", "meta-meld", "--scale", "laptop"),
        *("--trials", "5", "--seed", "7", "--set", "run.training.epochs=30"),
    ]
    assert changed.labels["orch/experiment"] == changed.labels["app.kubernetes.io/instance"] == "meta-meld"
    assert {**changed.spec, "entrypoint": ""} == {**plain["spec"], "entrypoint": ""}


def test_the_overlays_own_options_stay_and_what_is_given_comes_after() -> None:
    words = entrypoint(render(Request("ci", "cmd-meld", ("run.seed=3",))))
    assert words[words.index("--trials") + 1] == "2"
    assert words[-2:] == ["--set", "run.seed=3"]


HARD = ["search.space={}", 'claim=it\'s $HOME; "x" & `id`', "claim=a  b\\n*"]


@pytest.mark.parametrize("change", HARD)
def test_a_value_arrives_as_it_was_given(change: str) -> None:
    text = str(job(render(Request("local", "cmd-meld", (change,)))).spec["entrypoint"])
    assert shlex.split(text)[-1] == change
    script = text.replace("orch-entrypoint", f"{shlex.quote(sys.executable)} -c 'import sys; print(sys.argv[-1])'")
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert said == f"{change}\n"


def test_our_image_comes_from_another_registry_and_each_keeps_its_tag() -> None:
    def images(image: str | None) -> dict[str, str]:
        found = documents(render(Request("gpu", image=image)))
        return {
            f"{pod.component} {container.name}": container.image
            for document in found
            for pod in pods(document)
            for container in pod.containers
        }

    plain, renamed = images(None), images("registry.example:5000/team/orch")
    assert {"orch:0.1.0-cpu", "orch:0.1.0-gpu"} <= set(plain.values())
    for place, image in plain.items():
        ours = image.startswith("orch:")
        assert renamed[place] == (f"registry.example:5000/team/{image}" if ours else image)
    tagged = images("registry.example:5000/team/orch:9-gpu")
    assert {tagged[place] for place, image in plain.items() if image.startswith("orch:")} == {
        "registry.example:5000/team/orch:9-gpu"
    }


def test_where_things_are_is_told_to_every_pod_and_changes_nothing_else() -> None:
    given = ("ORCH_STORAGE=s3://mine/orch", "AWS_REGION=eu-central-1", "ORCH_EXPERIMENT_PREFIX=team/")
    plain, changed = (documents(render(Request("gpu", settings=one))) for one in ((), given))
    differing = [(one, other) for one, other in zip(plain, changed, strict=True) if one != other]
    ((before, after),) = differing
    assert before.title == after.title == "ConfigMap orch-settings"
    expected = {**before.data["data"], **dict(entry.split("=", 1) for entry in given)}
    assert after.data["data"] == expected != before.data["data"]


def test_an_experiment_of_ones_own_is_mounted_where_the_entrypoint_finds_it(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "search_spaces" / "cmd-meld.yaml").read_text(encoding="utf-8")
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    found = documents(render(Request("local", str(file))))
    sweep = named(found, "RayJob", "mine")
    config = named(found, "ConfigMap", "mine-experiment")
    assert sweep is not None and config is not None
    assert parse(str(sweep.spec["entrypoint"])).name == "/experiments/mine.yaml"
    assert config.data["data"] == {"mine.yaml": text}
    ray_pods = [pod for pod in pods(sweep) if pod.component != "submitter"]
    assert len(ray_pods) == 2
    for pod in ray_pods:
        (mount,) = [one for one in pod.spec["containers"][0]["volumeMounts"] if one["name"] == "experiment"]
        (volume,) = [one for one in pod.spec["volumes"] if one["name"] == "experiment"]
        assert (mount["mountPath"], mount["readOnly"]) == ("/experiments", True)
        assert volume["configMap"]["name"] == "mine-experiment"


def test_a_long_lived_cluster_is_checked_for_the_experiment_that_is_to_come() -> None:
    found = documents(render(Request("local", "cmd-meld", components=("long-lived", "monitoring"), name="shared")))
    assert [one.title for one in found if one.api.startswith("ray.io")] == ["RayCluster shared"]
    with pytest.raises(ManifestError, match="orch submit"):
        render(Request("local", "cmd-meld", trials=3, components=("long-lived",)))


REFUSED = [
    (Request("nowhere"), "no overlay 'nowhere'; there are ci, gpu, gpu-spot, local"),
    (Request("local", components=("nothing",)), "--with nothing: no such component"),
    (Request("local", components=("object-store",)), "the overlay has it already"),
    (Request("local", components=("kueue", "autoscaler")), "it does not go with component kueue"),
    (Request("local", "no-such"), "no experiment 'no-such'; there are"),
    (Request("local", "cmd-meld", ("run.method.temprature=2",)), "no field 'temprature'"),
    (Request("local", "cmd-meld", name="Mine"), "'Mine' cannot name a RayJob"),
    (Request("local", "cmd-meld", name="m" * 48), "at most 47"),
    (
        Request("local", "cmd-meld", ("claim=s3://key:word@host/x",)),
        "--set claim: its value holds a user or a password",
    ),
    (Request("local", image="orch:latest"), "no 'latest'"),
    (Request("gpu", settings=("ORCH_STORAGE",)), "--setting ORCH_STORAGE: give NAME=VALUE"),
    (Request("gpu", settings=("ORCH_STORGE=s3://b/x",)), "nothing reads that variable; it is spelled ORCH_STORAGE"),
    (Request("gpu", settings=("PATH=/tmp",)), "--setting PATH: nothing reads that variable; settings begin with"),
    (Request("gpu", settings=("ORCH_CACHE_LIMIT=much",)), "--setting ORCH_CACHE_LIMIT=much: Input should be"),
    (Request("gpu", settings=("ORCH_STORAGE=s3://key:word@b",)), "--setting ORCH_STORAGE: it holds a secret"),
    (Request("gpu", settings=("AWS_SECRET_ACCESS_KEY=x",)), "--setting AWS_SECRET_ACCESS_KEY: it holds a secret"),
]


@pytest.mark.parametrize(("request_", "told"), REFUSED)
def test_what_cannot_be_is_refused_with_the_way_out(request_: Request, told: str) -> None:
    with pytest.raises((ManifestError, ExperimentError)) as refused:
        render(request_)
    assert told in str(refused.value)
    assert refused.value.exit_code == 2


def test_what_kustomize_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    overlay = tmp_path / "mine"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        f"resources: [{os.path.relpath(INFRA / 'overlays' / 'local', overlay)}]\n"
        "patches:\n- {target: {kind: RayJob}, patch: '[{op: add}]'}\n"
    )
    done = orch("infra", "render", str(overlay))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "unable to parse SM or JSON patch" in done.err


def test_a_plan_that_could_never_be_placed_is_refused_with_the_sums() -> None:
    with pytest.raises(ManifestError) as refused:
        render(Request("local", "cmd-meld", ("resources.teacher.cpus=9",)))
    assert "a worker of 9 CPUs fits on no node; the cluster's nodes have 2 and 0" in str(refused.value)
    assert "set resources.teacher.cpus to at most 2" in str(refused.value)
    with pytest.raises(ManifestError, match="1 GPU fits on no node"):
        render(Request("local", "cmd-meld", ("resources.trial.gpus=1",)))
    assert "resources.trial.gpus=1" in render(Request("gpu", "cmd-meld", ("resources.trial.gpus=1",)))


def test_what_an_autoscaler_may_start_counts() -> None:
    change = ("resources.teacher.gpus=1", "resources.teacher.cpus=6", "resources.teacher.workers=4")
    with pytest.raises(ManifestError, match="4 workers"):
        render(Request("gpu", "cmd-meld", change))
    assert "workers=4" in render(Request("gpu", "cmd-meld", change, components=("autoscaler",)))


def test_a_corpus_that_the_manifest_brings_takes_the_stand_ins_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.infra import render as module
    from orchestrator.infra.placement import experiment_of

    corpora: list[str] = []

    def seen(*given: Any) -> Any:
        spec = experiment_of(*given)
        corpora.append(spec.run.corpus.type)
        return spec

    monkeypatch.setattr(module, "experiment_of", seen)
    render(Request("local"))
    render(Request("local", components=("data",)))
    assert corpora == ["standin", "meld"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=s3://key:word@host", True),
        ("x: http://token@host/path", True),
        ("a=s3://bucket/folder@2", False),
        ("mail@host", False),
    ],
)
def test_credentials_in_addresses_are_seen(text: str, *, found: bool) -> None:
    assert credential(text) is found


def test_an_entrypoint_may_say_what_orch_sweep_takes() -> None:
    from typer.main import get_command_from_info
    from typer.models import CommandInfo

    command = get_command_from_info(
        CommandInfo(callback=sweep_command.sweep), pretty_exceptions_short=True, rich_markup_mode=None
    )
    taken = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    assert options() == taken - {"--help"}


@pytest.mark.parametrize(
    "text", ["python x.py", "orch-entrypoint sweep", "orch-entrypoint sweep a --tirals 3", "a 'b"]
)
def test_another_entrypoint_is_refused(text: str) -> None:
    with pytest.raises(ManifestError):
        parse(text)


def test_every_component_is_named_for_every_overlay_that_can_take_it(rendered: Rendered) -> None:
    for overlay in overlays():
        for name in addable(overlay_folder(overlay)):
            assert rendered(overlay, name), (overlay, name)


def test_the_command_prints_it_and_loads_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)
    done = orch("infra", "render", "local", "--experiment", "cmd-meld", "--trials", "3")
    assert (done.code, done.out) == (0, render(Request("local", "cmd-meld", trials=3)))
    assert orch("infra", "render", "local", "--name", "A").code == 2
    script = (
        "import json, sys\n"
        "from orchestrator.infra.render import Request, render\n"
        "from orchestrator.infra.check import check, requests\n"
        "assert not [f for one in check(requests(['local'], ['spot'], None)) for f in one.findings]\n"
        "import orchestrator.commands.infra, orchestrator.infra.cluster\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert set(json.loads(said.splitlines()[-1])) & HEAVY == set()
