"""What is said of a node that cannot do our work, and whose cache folder is used."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.launch.access import kind_of, mismatch
from orchestrator.launch.cluster import ENVIRONMENT, worker_environment
from orchestrator.launch.code_digest import code_digest
from orchestrator.launch.nodes import Told, difference, fault_here, own_cache
from orchestrator.launch.ray_folder import ROOT, ray_folder
from trainables.storage import Storage

HERE = Told("2.60.0", "3.11.7", "aaaaaaaaaaaa")


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (HERE, ""),
        (Told("2.60.0", "3.11.9", "aaaaaaaaaaaa"), ""),
        (Told("2.59.0", "3.11.7", "aaaaaaaaaaaa"), "node a runs Ray 2.59.0, this process 2.60.0; start every node"),
        (Told("2.60.0", "3.12.1", "aaaaaaaaaaaa"), "node a runs Python 3.12.1, this process 3.11.7; start every"),
        (Told("2.60.0", "3.11.7", "", "no module"), "node a cannot import our code (no module); install the same"),
        (Told("2.60.0", "3.11.7", "bbbbbbbbbbbb"), "node a runs other code (bbbbbbbbbbbb) than this process (aaaa"),
        (Told("2.60.0", "3.11.7", "aaaaaaaaaaaa", "storage x: away"), "node a: storage x: away"),
    ],
)
def test_the_first_difference_is_told_with_the_way_out(there: Told, told: str) -> None:
    found = difference("node a", HERE, there)
    assert found.startswith(told)
    assert bool(found) == bool(told)


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    def digest(**files: str) -> str:
        for name, text in files.items():
            (tmp_path / "orchestrator").mkdir(exist_ok=True)
            (tmp_path / "orchestrator" / f"{name}.py").write_text(text)
        code_digest.cache_clear()
        return code_digest(tmp_path)

    one = digest(a="1")
    assert digest(a="2") != one
    assert digest(a="1") == one
    assert digest(b="1") != one


def test_a_node_s_own_cache_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORCH_CACHE", raising=False)
    assert own_cache("/drivers") == Path("/drivers")
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path))
    assert own_cache("/drivers") == tmp_path


def test_a_node_says_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ORCH_CACHE", raising=False)
    storage = Storage(str(tmp_path / "store"))
    storage.write_text("probe/driver", "token")
    cache = str(tmp_path / "cache")
    assert fault_here(storage.root, "probe", "token", cache) == ""
    assert len(storage.list("probe")) == 2
    assert list((tmp_path / "cache").iterdir()) == []
    for root, token in ((storage.root, "another"), (str(tmp_path / "elsewhere"), "token")):
        told = fault_here(root, "probe", token, cache)
        assert "does not see what the driver has written there; give a storage that every node reaches" in told
    (tmp_path / "file").touch()
    told = fault_here(storage.root, "probe", "token", str(tmp_path / "file/cache"))
    assert (
        told
        == f"cache {tmp_path}/file/cache: Not a directory; set ORCH_CACHE on that node to a folder that "
        + ("can be written")
    )


def test_workers_are_given_places_but_no_credential_and_nothing_twice() -> None:
    environment = {
        **ENVIRONMENT,
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_ACCESS_KEY_ID": "key",
        "RAY_AUTH_TOKEN": "token",
        ROOT: "s3://bucket",
    }
    wanted = {**ENVIRONMENT, "AWS_ENDPOINT_URL": "http://minio:9000", ROOT: "s3://bucket"}
    assert worker_environment(environment) == wanted
    job = {"runtime_env": {"env_vars": {"AWS_ENDPOINT_URL": "http://other:9000"}}}
    within = {**environment, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)}
    assert worker_environment(within) == {k: v for k, v in wanted.items() if k != "AWS_ENDPOINT_URL"}


def test_ray_s_folder_lies_under_the_storage_of_an_existing_cluster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ROOT, raising=False)
    with ray_folder("orch-tune-") as given:
        assert Path(given["storage_path"]).is_dir()
    assert not Path(given["storage_path"]).exists()
    monkeypatch.setenv(ROOT, str(tmp_path))
    with ray_folder("orch-tune-") as given:
        place = Path(given["storage_path"])
        assert place.parent == tmp_path
        given["storage_filesystem"].create_dir(str(place))
        (place / "written").write_text("by Ray")
    assert not place.exists()


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        (None, "local"),
        ("", "local"),
        ("local", "local"),
        ("auto", "auto"),
        ("head:6379", "gcs"),
        ("[::1]:6379", "gcs"),
        ("ray://head:10001", "client"),
        ("http://head:8265", "dashboard"),
        ("https://head", "dashboard"),
    ],
)
def test_an_address_tells_what_it_is_of(address: str | None, kind: str) -> None:
    assert kind_of(address) == kind


def test_another_version_of_ray_is_told_in_a_sentence() -> None:
    text = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.59.0\n    Python: 3.11.7\n"
        "This process on node 10.0.0.1 was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\n"
    )
    assert mismatch(RuntimeError(text)) == (
        "the cluster runs Ray 2.59.0 on Python 3.11.7, this process Ray 2.60.0 on Python 3.12.1; "
        "have the same on both, or send the sweep there with `orch submit`"
    )
    assert mismatch(RuntimeError("something else")) == ""
