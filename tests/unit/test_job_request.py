"""From arguments and settings to what is sent with a job; nothing secret, and nothing that holds here alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import ExperimentError, SettingsError
from orchestrator.launch.code_digest import SHIPPED
from orchestrator.launch.job_note import JobNote, job_id, note_sweep, progress, read_note
from orchestrator.launch.job_request import Flags, JobRequest, experiment_there, job_request, lay_out
from orchestrator.settings import load
from tests.helpers.cli import bare_machine
from tests.helpers.trials import experiment
from trainables.storage import Storage


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bare_machine(tmp_path, monkeypatch)
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def request(name: str = "fake", flags: Flags | None = None, *, here: bool = False, **given: object) -> JobRequest:
    settings = load({"storage": "s3://bucket/root", **given})
    return job_request(name, experiment(), settings, flags or Flags("full"), here=here)


def test_the_command_is_the_sweep_with_the_same_flags() -> None:
    flags = Flags("laptop", 5, ("run.seed=1", "search.space={}"), 7, 2, fresh=True)
    found = request(flags=flags).entrypoint
    assert found == (
        "exec python -m orchestrator.cli sweep fake --scale laptop --storage s3://bucket/root --trials 5 --seed 7 "
        "--concurrency 2 --set run.seed=1 --set 'search.space={}' --fresh"
    )


def test_a_checkout_sends_its_code_and_an_experiment_s_file_goes_along(bare: Path) -> None:
    (bare / "own.yaml").write_text("name: own", "utf-8")
    found = request("own.yaml")
    assert set(found.files) == {*SHIPPED, "experiments/own.yaml"}
    assert found.command[4] == "experiments/own.yaml"
    lay_out(found, bare / "job")
    assert (bare / "job/experiments/own.yaml").read_text("utf-8") == "name: own"
    for place in ("orchestrator/cli.py", "trainables/storage/__init__.py", "search_spaces/cmd-meld.yaml"):
        assert (bare / "job" / place).is_file()
    assert not list((bare / "job").rglob("__pycache__"))
    assert not list((bare / "job").rglob("orch.toml"))


def test_who_sends_what_with_which_storage_stands_in_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice")
    found = request()
    assert found.metadata["orch.experiment"] == "fake"
    assert found.metadata["orch.user"] == "alice"
    assert found.metadata["orch.storage"] == "s3://bucket/root"
    assert found.id.startswith("orch-fake-")
    assert found.id != request().id


def test_settings_travel_as_variables_and_those_of_this_machine_stay(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "orch.toml").write_text(
        'cache = "/here/cache"\nray_address = "head:6379"\nexperiment_prefix = "a-"\n'
        '[corpora]\nmeld = "/data/meld"\n'
        "[node_groups.gpu]\ncpus = 8\nmaximum = 3\n",
        "utf-8",
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    found = dict(request().variables)
    assert json.loads(found.pop("ORCH_CORPORA")) == {"meld": "/data/meld"}
    assert json.loads(found.pop("ORCH_NODE_GROUPS"))["gpu"]["maximum"] == 3
    assert found == {
        "ORCH_EXPERIMENT_PREFIX": "a-",
        "MLFLOW_TRACKING_URI": "http://mlflow:5000",
        "AWS_ENDPOINT_URL": "http://minio:9000",
        "AWS_REGION": "eu-west-1",
        "RAY_JOB_STOP_WAIT_TIME_S": "60",
    }


def test_what_travels_is_read_as_the_same_settings_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "orch.toml").write_text('[corpora]\nmeld = "/data/meld"\n[node_groups.gpu]\ncpus = 8\nmaximum = 3\n')
    here, variables = load(), request().variables
    (bare / "orch.toml").unlink()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (load().corpora, load().node_groups) == (here.corpora, here.node_groups)


SECRET = "planted-secret"


def test_no_credential_of_the_environment_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD")
    for name in (*names, "MLFLOW_TRACKING_TOKEN", "RAY_AUTH_TOKEN", "HF_TOKEN", "ORCH_SOMETHING"):
        monkeypatch.setenv(name, SECRET)
    assert SECRET not in request().model_dump_json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", f"http://alice:{SECRET}@mlflow:5000"),
        ("MLFLOW_TRACKING_URI", f"postgresql://alice:{SECRET}@db/mlflow"),
        ("AWS_ENDPOINT_URL", f"http://{SECRET}@minio:9000"),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_an_address_with_a_password_is_refused_without_showing_it(
    name: str, value: str, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: it holds a user or a password") as found:
        request(here=here)
    assert SECRET not in str(found.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MLFLOW_TRACKING_URI", "sqlite:////data/mlflow.db"),
        ("MLFLOW_TRACKING_URI", "file:///data/mlruns"),
        ("MLFLOW_TRACKING_URI", "http://localhost:5000"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"),
    ],
)
def test_an_address_of_this_machine_is_refused_for_a_cluster_elsewhere(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert request(here=True).variables[name] == value
    with pytest.raises(SettingsError, match=f"^{name} = .* is of this machine, and the cluster is elsewhere"):
        request()


@pytest.mark.parametrize("storage", ["./orch-store", "/data/store"])
def test_a_local_storage_is_refused_for_a_cluster_elsewhere(storage: str) -> None:
    told = r"is a folder of this machine, and the cluster is elsewhere: give --storage s3://BUCKET/FOLDER"
    with pytest.raises(SettingsError, match=told):
        request(storage=storage)


def test_a_local_storage_holds_on_the_same_machine_and_a_mounted_one_anywhere(bare: Path) -> None:
    assert request(storage="./store", here=True).storage == str(bare / "store")
    assert request(storage="file:///mnt/shared").storage == "file:///mnt/shared"


def test_a_corpus_is_named_by_its_whole_path_on_the_cluster(bare: Path) -> None:
    assert json.loads(request(corpora={"meld": "data"}, here=True).variables["ORCH_CORPORA"]) == {
        "meld": str(bare / "data")
    }
    with pytest.raises(SettingsError, match=r"corpora.meld = 'data' \(from --root\): the job runs elsewhere"):
        request(corpora={"meld": "data"})


def test_the_experiment_is_checked_before_it_is_sent_though_its_corpus_lies_elsewhere() -> None:
    spec, scale = experiment_there("cmd-meld", load({"corpora": {"meld": "/nowhere/here"}}), None, ())
    assert (spec.run.corpus.type, scale) == ("meld", "full")
    spec, scale = experiment_there("cmd-meld", load({"scale": "laptop"}), None, ("search.trials=3",))
    assert (spec.run.corpus.type, scale, spec.search.trials) == ("standin", "laptop", 3)
    with pytest.raises(ExperimentError, match="no field 'temprature'"):
        experiment_there("cmd-meld", load(), None, ("run.method.temprature=2",))


def test_a_job_says_in_the_storage_which_sweep_it_drives(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage(str(bare / "store"))
    note_sweep(storage, "sweeps/fake", 20)
    assert storage.list("jobs") == []
    config = {"metadata": {"job_submission_id": "orch-fake-1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(config))
    assert job_id() == "orch-fake-1"
    note_sweep(storage, "sweeps/fake", 20)
    assert read_note(storage, "orch-fake-1") == JobNote(sweep="sweeps/fake", trials=20)
    assert progress(storage.root, "orch-fake-1") == "0 of 20 trials"
    assert progress(storage.root, "orch-fake-2") == "no sweep yet"


@pytest.mark.parametrize("config", ["", "[]", "not JSON", "{}", '{"metadata": null}', '{"metadata": {}}'])
def test_a_process_that_is_no_job_has_no_id(config: str) -> None:
    assert job_id({"RAY_JOB_CONFIG_JSON_ENV_VAR": config}) is None
