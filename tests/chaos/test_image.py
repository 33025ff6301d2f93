"""The image, built from its Dockerfile, runs the rendered manifests of the laptop's overlay to the end of a sweep.

Real: the build, the containers' users, privileges, seccomp profile and read-only roots, MLflow behind its login on
PostgreSQL, a Ray head and a worker with a token, the submission as the operator makes it, twice. Not here: a Docker
engine, Kubernetes, and with it limits of memory, network policies and the operator (tests/helpers/operator.py).
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.driver import SMALL
from tests.helpers.images import Images, copy_context, needed
from tests.helpers.namespace import HEAD, Arguments, Namespace, answer, namespace, run_sql
from tests.helpers.pods import Node, Objects
from tests.helpers.services.namespaces import namespaces
from tests.helpers.services.postgres import Postgres, postgres
from tests.helpers.services.s3 import S3Server, s3_server

TAG = "localhost/orch:0.1.0-cpu"
CONTEXT = ["constraints.txt", "pyproject.toml", "README.md", "LICENSE"]
CONTEXT += ["orchestrator", "trainables", "search_spaces", "infra", "tests"]
TRIALS = 2


@dataclass(frozen=True)
class Built:
    images: Images
    root: Path
    secret: str
    log: str


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    needed("buildah", "crun", "debootstrap", "kubectl")
    folder = tmp_path_factory.mktemp("image")
    images = Images(Path(os.environ.get("ORCH_TEST_IMAGES") or folder / "images"))
    images.folder.mkdir(parents=True, exist_ok=True)
    images.make_base()
    secret = f"planted-{secrets.token_hex(16)}"
    context = copy_context(folder / "context", CONTEXT)
    images.build("infra/docker/Dockerfile.cpu", TAG, context, folder / "build.log", secret=secret)
    container, root = images.mount(TAG)
    yield Built(images, root, secret, (folder / "build.log").read_text())
    images.unmount(container)


def test_the_image_runs_as_nobody_and_says_what_it_is(built: Built) -> None:
    found: dict[str, Any] = built.images.configuration(TAG)
    assert found["User"] == "1000:1000"
    assert found["Entrypoint"] == ["orch-entrypoint"]
    assert found["Labels"]["org.opencontainers.image.version"] == "0.1.0"
    assert (built.root / "home/orch").stat().st_uid == 1000
    assert (built.root / "opt/orch").stat().st_uid == 0, "what runs cannot change its own code"


@pytest.mark.parametrize("name", ["gcc", "cc", "g++", "make", "pip", "pip3"])
def test_the_image_has_nothing_to_build_with(built: Built, name: str) -> None:
    folders = ("usr/bin", "usr/local/bin", "opt/orch/venv/bin")
    assert not [folder for folder in folders if (built.root / folder / name).exists()]


def test_the_image_holds_the_experiments_and_no_tests_of_ours(built: Built) -> None:
    (packages,) = built.root.glob("opt/orch/venv/lib/python3*/site-packages")
    assert (packages / "search_spaces/cmd-meld.yaml").is_file()
    assert (packages / "infra/overlays/local/kustomization.yaml").is_file()
    assert not (packages / "tests").exists()
    assert not list(built.root.glob("src")), "the folder of the build"
    assert not list(built.root.glob("root/.cache/*"))


def test_what_pip_was_told_is_in_no_layer_and_no_log(built: Built) -> None:
    """The other two show that layers and descriptions are looked at."""
    layer, description = "PATH=/opt/orch/venv/bin:$PATH", "org.opencontainers.image.licenses"
    assert built.images.found(built.secret, layer, description) == {layer, description}
    assert built.secret not in built.log


@dataclass(frozen=True)
class Story:
    """What two submissions left."""

    here: Namespace
    folder: Path
    rendered: str
    planted: dict[str, str]
    s3: S3Server
    pg: Postgres
    arguments: Arguments
    first: tuple[int, str]
    second: tuple[int, str]
    objects_after_first: dict[str, int]
    objects_after_second: dict[str, int]


def rendered_manifests() -> str:
    from orchestrator.infra.render import Request, render

    sets = tuple(f"{path}={value}" for path, value in SMALL.items())
    return render(Request("local", experiment="cmd-meld", sets=sets, scale="laptop", trials=TRIALS))


def planted_secrets() -> dict[str, str]:
    names = (
        "AWS_SECRET_ACCESS_KEY",
        "MLFLOW_TRACKING_PASSWORD",
        "MLFLOW_AUTH_ADMIN_PASSWORD",
        "MLFLOW_DB_PASSWORD",
    )
    names += ("MLFLOW_FLASK_SERVER_SECRET_KEY", "auth_token")  # type: ignore[assignment]
    return {name: secrets.token_urlsafe(24) for name in names}


def as_secrets(planted: dict[str, str]) -> dict[str, dict[str, str]]:
    given = {"AWS_ACCESS_KEY_ID": "AKIAORCHTESTORCHTEST", "MLFLOW_TRACKING_USERNAME": "orch", **planted}
    keys = {
        "orch-ray-token": ("auth_token",),
        "orch-object-store": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "orch-mlflow": ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"),
        "orch-mlflow-admin": ("MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        "orch-postgres": ("MLFLOW_DB_PASSWORD",),
    }
    return {name: {key: given[key] for key in held} for name, held in keys.items()}


@pytest.fixture(scope="module")
def story(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    for name in ("private", "volumes", "logs", "outside"):
        (folder / name).mkdir()
    rendered, planted = rendered_manifests(), planted_secrets()
    objects = Objects(list(yaml.safe_load_all(rendered)), as_secrets(planted))
    (job,) = (one for one in objects.documents if one["kind"] == "RayJob")
    with ExitStack() as stack:
        machines = stack.enter_context(namespaces(folder / "outside", 4))
        s3 = stack.enter_context(s3_server(folder / "outside", host=machines.gateway, port=7070))
        s3.make_bucket("orch")
        pg = stack.enter_context(postgres(folder / "outside", host=machines.gateway, port=5432))
        run_sql(objects, pg, {"MLFLOW_DB_PASSWORD": planted["MLFLOW_DB_PASSWORD"]})
        hosts = {"object-store": machines.gateway, "postgres": machines.gateway, "mlflow": machines.addresses[2]}
        hosts[f"{job['metadata']['name']}-head-svc.orch.svc.cluster.local"] = machines.addresses[HEAD]
        node = Node(
            private=folder / "private",
            volumes=folder / "volumes",
            logs=folder / "logs",
            root=built.root,
            image=built.images.configuration(TAG),
            objects=objects,
            machines=machines,
            hosts=hosts,
        )
        here = stack.enter_context(namespace(node, job))
        arguments, ended = Arguments(list(planted.values())), threading.Event()
        threading.Thread(target=arguments.watch, args=(ended.is_set,), daemon=True).start()
        stack.callback(ended.set)
        here.start_mlflow()
        here.start_ray()
        first = here.submit("first")
        after_first = s3.objects("orch")
        second = here.submit("second")
        yield Story(
            here, folder, rendered, planted, s3, pg, arguments, first, second, after_first, s3.objects("orch")
        )


def test_the_submission_runs_to_the_end_of_the_sweep(story: Story) -> None:
    status, output = story.first
    assert status == 0, output[-6000:]
    assert "stand-in" in output
    names = [key for key in story.objects_after_first if key.startswith("store/models/")]
    assert names, "models were confirmed"


def test_a_second_submission_finds_all_done(story: Story) -> None:
    status, output = story.second
    assert status == 0, output[-6000:]
    own = ("/drivers/", "/jobs/")
    before, after = story.objects_after_first, story.objects_after_second
    assert {key for key in after.keys() - before.keys() if not any(part in key for part in own)} == set()
    assert {key for key in before if after.get(key) != before[key] and "/drivers/" not in key} == set()
    assert "wait in" not in story.first[1], "MLflow was sent everything"


def test_the_tracking_server_has_the_sweep_and_asks_for_a_login(story: Story) -> None:
    login = ("orch", story.planted["MLFLOW_TRACKING_PASSWORD"])
    url = f"{story.here.mlflow}/api/2.0/mlflow/experiments/search?max_results=10"
    assert answer(url, basic(*login))[0] == 403, "this address is not one of --allowed-hosts"
    host = {"Host": "mlflow:5000"}
    assert answer(url, host)[0] == 401
    status, body = answer(url, {**host, **basic(*login)})
    assert status == 200
    assert "cmd-meld" in str(json.loads(body))


PATHS = ("/api/jobs/", "/api/version", "/api/cluster_status", "/nodes?view=summary", "/logical/actors")


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_ray_answers_nothing(story: Story, path: str) -> None:
    url = f"{story.here.dashboard}{path}"
    assert answer(url)[0] == 401
    assert answer(url, {"Authorization": f"Bearer {'x' * 32}"})[0] in (401, 403)
    assert answer(url, {"Authorization": f"Bearer {story.planted['auth_token']}"})[0] == 200


def test_the_dashboards_page_that_asks_for_the_token_tells_nothing_of_the_cluster(story: Story) -> None:
    """It is the same HTML for everyone: Ray leaves its shell open, so that a browser can ask for the token."""
    status, body = answer(f"{story.here.dashboard}/")
    assert status in (200, 404)
    assert story.here.node.machines.addresses[1].encode() not in body


def test_without_the_token_nobody_joins_the_cluster(story: Story) -> None:
    script = "ray health-check --address $GCS; echo health $?; ray status --address $GCS; echo status $?"
    told = {"GCS": story.here.operator.gcs}
    refused = story.here.shell(script, environment={**told, "RAY_AUTH_MODE": "disabled"})
    assert "status 0" not in refused, refused
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": story.planted["auth_token"]}
    assert "status 0" in story.here.shell(script, environment={**told, **token})


@pytest.mark.parametrize("login", [True, False])
def test_commands_are_found_by_any_shell(story: Story, login: bool) -> None:
    names = "orch ray mlflow python orch-entrypoint orch-mlflow wget"
    output = story.here.shell(f"set -e; for name in {names}; do command -v $name; done; id -u", login=login)
    assert "/opt/orch/venv/bin/orch" in output
    assert "1000" in output
    assert "exit 0" in output


def test_nothing_can_be_written_where_the_code_lies(story: Story) -> None:
    output = story.here.shell(
        "touch /opt/orch/here /usr/here /home/orch/mine; ls /home/orch; grep -i cap /proc/self/status"
    )
    assert output.count("Read-only file system") == 2
    assert "mine" in output
    assert "CapEff:\t0000000000000000" in output
    assert "CapBnd:\t0000000000000000" in output


def test_a_users_mistake_ends_with_2_and_one_sentence(story: Story) -> None:
    output = story.here.shell(
        "orch-entrypoint sweep no-such-experiment", environment={"ORCH_STORAGE": "/tmp/store"}
    )
    assert "error: " in output
    assert "no-such-experiment" in output
    assert output.endswith("exit 2")


def test_the_signal_reaches_orch_itself(story: Story) -> None:
    script = "orch-entrypoint ui & sleep 8; tr '\\0' ' ' < /proc/$!/cmdline; kill $!; wait $!"
    output = story.here.shell(script, environment={"ORCH_STORAGE": "/tmp/store"})
    assert "/opt/orch/venv/bin/orch ui" in output, "the shell has become orch"


def test_planted_secrets_are_in_nothing_rendered_logged_or_stored(story: Story) -> None:
    story.here.stop("worker", "head", "mlflow")
    dump = story.pg.dump()
    stored = {
        key: story.s3.client().get_object(Bucket="orch", Key=key)["Body"].read() for key in story.s3.objects("orch")
    }
    files = [
        path
        for name in ("logs", "volumes", "outside")
        for path in (story.folder / name).rglob("*")
        if path.is_file()
    ]
    assert any(path.name == "gcs_server.out" for path in files), "Ray's own logs are looked at"
    for name, value in story.planted.items():
        word = value.encode()
        assert value not in story.rendered, name
        assert word not in dump, name
        assert [key for key, body in stored.items() if word in body] == [], name
        assert [str(path) for path in files if word in path.read_bytes()] == [], name
    assert story.arguments.seen == set()


def basic(user: str, password: str) -> dict[str, str]:
    import base64

    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
