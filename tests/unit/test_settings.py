"""Where settings come from, which one wins, and what a wrong one is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from orchestrator import settings as module
from orchestrator.corpora import CORPORA
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings, default_scale, load
from trainables.node_cache import limit_from_environment
from trainables.spec import CorpusSpec
from trainables.storage.retry import patience_seconds


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, an empty user's folder and no variable of ours."""
    for name in list(os.environ):
        if name.upper().startswith("ORCH_") or name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
            monkeypatch.delenv(name)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(module, "user_config_dir", lambda name: str(tmp_path / "config" / name))
    return here


def test_every_corpus_but_the_stand_in_has_a_name_to_lie_under() -> None:
    specs = TypeAdapter[CorpusSpec](CorpusSpec).json_schema()["discriminator"]["mapping"]
    assert {*CORPORA, "standin"} == set(specs)


def test_with_nothing_configured_everything_is_local(bare: Path) -> None:
    settings = load()
    assert settings.storage_folder == bare / "orch-store"
    assert settings.mlflow_tracking_uri == f"sqlite:///{bare}/orch-store/mlflow.db"
    assert (settings.ray_address, settings.concurrency, settings.scale) == (None, None, None)
    assert settings.origin("storage") == "default"


def test_flag_beats_environment_beats_file(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "orch.toml").write_text('storage = "file"\nconcurrency = 2\nscale = "full"\nray_address = "a:1"\n')
    monkeypatch.setenv("ORCH_STORAGE", "environment")
    monkeypatch.setenv("ORCH_CONCURRENCY", "3")
    settings = load({"storage": "flag", "concurrency": None})
    assert (settings.storage, settings.concurrency, settings.scale) == ("flag", 3, "full")
    assert settings.ray_address == "a:1"
    origins = [settings.origin(name) for name in ("storage", "concurrency", "scale")]
    assert origins == ["--storage", "ORCH_CONCURRENCY", str(bare / "orch.toml")]


def test_the_working_directory_hides_the_users_file(bare: Path, tmp_path: Path) -> None:
    users = tmp_path / "config" / "orch" / "orch.toml"
    users.parent.mkdir(parents=True)
    users.write_text('storage = "users"\nconcurrency = 5\n')
    assert load().storage == "users"
    assert load().origin("storage") == str(users)
    (bare / "orch.toml").write_text('storage = "here"\n')
    assert (load().storage, load().concurrency) == ("here", None)


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("RAY_ADDRESS", "ray_address", "ray://head:10001"),
        ("MLFLOW_TRACKING_URI", "mlflow_tracking_uri", "http://mlflow:5000"),
        ("ORCH_STORAGE", "storage", "s3://bucket/root"),
        ("ORCH_CACHE", "cache", Path("/fast/disk")),
        ("ORCH_CACHE_LIMIT", "cache_limit", 2.5),
        ("ORCH_STORAGE_PATIENCE", "storage_patience", 20.0),
        ("ORCH_DRIVER_PATIENCE", "driver_patience", 120.0),
        ("ORCH_TRACKING_PATIENCE", "tracking_patience", 300.0),
        ("ORCH_SCALE", "scale", "laptop"),
        ("ORCH_CONCURRENCY", "concurrency", 4),
    ],
)
def test_each_variable_reaches_its_field(
    variable: str, field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(value))
    settings = load()
    assert getattr(settings, field) == value
    assert settings.origin(field) == variable


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    monkeypatch.setenv("ORCH_STORAGE", "")
    assert (load().ray_address, load().storage) == (None, "./orch-store")


def test_corpora_of_file_and_environment_are_joined(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bare / "orch.toml").write_text('[corpora]\nmeld = "from-file"\n')
    assert dict(load().corpora) == {"meld": "from-file"}
    assert load().origin("corpora.meld") == str(bare / "orch.toml")
    monkeypatch.setenv("ORCH_CORPORA__MELD", "from-environment")
    assert dict(load().corpora) == {"meld": "from-environment"}
    assert load().origin("corpora.meld") == "ORCH_CORPORA__MELD"
    settings = load({"corpora": {"meld": "from-flag"}})
    assert (dict(settings.corpora), settings.origin("corpora.meld")) == ({"meld": "from-flag"}, "--root")


def test_textgrids_are_looked_for_where_they_are_read_alone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_ALIGNMENTS__MELD", str(bare))
    settings = load()
    assert settings.alignment_folder("meld", "textgrid") == bare
    assert settings.alignment_folder("emodb", "ctc") is None
    with pytest.raises(SettingsError, match=r"set ORCH_ALIGNMENTS__EMODB, or alignments\.emodb in orch\.toml"):
        settings.alignment_folder("emodb", "textgrid")
    monkeypatch.setenv("ORCH_ALIGNMENTS__MELD", "gone")
    with pytest.raises(SettingsError, match=r"meld = 'gone' \(from ORCH_ALIGNMENTS__MELD\): there is no"):
        load().alignment_folder("meld", "textgrid")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('storge = "x"\n', "there is no setting 'storge'"),
        ("storage = \n", "not TOML"),
        ("concurrency = 0\n", "concurrency: Input should be greater than or equal to 1 (given: 0)"),
        ('[corpora]\nmled = "x"\n', "there is no corpus 'mled' with a root; corpora are meld"),
        ('scale = "huge"\n', "scale: Input should be 'laptop' or 'full'"),
    ],
)
def test_a_fault_of_the_file_names_the_file_and_the_key(text: str, told: str, bare: Path) -> None:
    (bare / "orch.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        load()
    assert told in str(caught.value)
    assert str(bare / "orch.toml") in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ORCH_CONCURRENCY", "many", "it comes from ORCH_CONCURRENCY"),
        ("ORCH_CORPORA__MLED", "/x", "it comes from ORCH_CORPORA__MLED"),
        ("ORCH_CORPORA__MELD", "", "ORCH_CORPORA__MELD is set but empty"),
        ("ORCH_ALIGNMENTS__MELD", "", "ORCH_ALIGNMENTS__MELD is set but empty"),
        ("ORCH_ALIGNMENTS__MLED", "/x", "there is no corpus 'mled'; corpora are meld"),
    ],
)
def test_a_fault_of_the_environment_names_the_variable(
    variable: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=told):
        load()


@pytest.mark.parametrize(
    ("storage", "folder", "database"),
    [
        ("/data/store", "/data/store", "/data/store/mlflow.db"),
        ("file:///data/store", "/data/store", "/data/store/mlflow.db"),
        ("s3://bucket/root", None, "{here}/mlflow.db"),
        ("memory://root", None, "{here}/mlflow.db"),
    ],
)
def test_mlflow_lies_beside_a_local_storage(storage: str, folder: str | None, database: str, bare: Path) -> None:
    settings = load({"storage": storage})
    assert settings.storage_folder == (Path(folder) if folder else None)
    assert settings.mlflow_tracking_uri == f"sqlite:///{database.format(here=bare)}"


def test_a_corpus_root_is_a_folder_or_an_error_never_the_stand_in(tmp_path: Path) -> None:
    assert load().corpus_root("meld") is None
    assert load().stand_in_for("meld")
    assert not load().stand_in_for("standin")
    there = load({"corpora": {"meld": str(tmp_path)}})
    assert there.corpus_root("meld") == tmp_path
    assert not there.stand_in_for("meld")
    gone = load({"corpora": {"meld": str(tmp_path / "gone")}})
    with pytest.raises(SettingsError, match="there is no such folder"):
        gone.stand_in_for("meld")


@pytest.mark.parametrize(("corpus", "name"), [("manifest", "manifest.csv"), ("features", "mosi.npz")])
def test_some_corpora_may_be_given_as_a_file_and_others_may_not(corpus: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    assert load({"corpora": {corpus: str(path)}}).corpus_root(corpus) == path
    assert load({"corpora": {corpus: str(tmp_path)}}).corpus_root(corpus) == tmp_path
    with pytest.raises(SettingsError, match="there is no such folder"):
        load({"corpora": {"meld": str(path)}}).corpus_root("meld")
    with pytest.raises(SettingsError, match="there is no such file or folder"):
        load({"corpora": {corpus: str(tmp_path / "gone")}}).corpus_root(corpus)


def test_a_cache_that_cannot_be_made_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SettingsError, match=r"\(from ORCH_CACHE\): Not a directory"):
        load().cache_folder()
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "new" / "cache"))
    assert load().cache_folder().is_dir()


def test_the_limit_of_the_cache_reaches_the_processes_of_this_node(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_CACHE_LIMIT", "")
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "cache"))
    (bare / "orch.toml").write_text("cache_limit = 12\n")
    load().cache_folder()
    assert limit_from_environment() == 12
    (bare / "orch.toml").write_text("cache_limit = 0\n")
    monkeypatch.delenv("ORCH_CACHE_LIMIT")
    with pytest.raises(SettingsError, match="cache_limit"):
        load()


def test_the_patience_of_the_storage_reaches_the_processes_of_this_node(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCH_STORAGE_PATIENCE", "")
    assert load().storage_patience == patience_seconds() == 300
    (bare / "orch.toml").write_text("storage_patience = 12\n")
    assert load().storage_patience == patience_seconds() == 12
    monkeypatch.setenv("ORCH_STORAGE_PATIENCE", "-1")
    with pytest.raises(SettingsError, match=r"storage_patience: .*it comes from ORCH_STORAGE_PATIENCE"):
        load()


def test_a_password_in_the_storage_root_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCH_STORAGE", "s3://AKIAEXAMPLE:a-planted-secret@bucket/root")
    with pytest.raises(SettingsError, match=r"credentials in it .* it comes from ORCH_STORAGE") as caught:
        load()
    assert "a-planted-secret" not in str(caught.value)


def test_a_corpus_root_without_permission_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(SettingsError, match="cannot be read"):
        load({"corpora": {"meld": str(tmp_path)}}).corpus_root("meld")


@pytest.mark.parametrize(
    ("flags", "scale", "why"),
    [
        ({}, "laptop", "no cluster and no GPU"),
        ({"ray_address": "head:6379"}, "full", "the cluster at head:6379"),
        ({"ray_address": "head:6379", "scale": "laptop"}, "laptop", "from --scale"),
    ],
)
def test_the_scale_follows_from_what_there_is(
    flags: dict[str, str], scale: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GPU", Path("/nowhere/nvidia0"))
    found = default_scale(load(flags))
    assert found[0] == scale
    assert why in found[1]


def test_a_gpu_means_the_full_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GPU", tmp_path)
    assert default_scale(load()) == ("full", "there is a GPU")


def test_settings_are_frozen_and_know_no_other_field() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load(), "storage", "x")  # noqa: B010 - mypy knows that it is frozen
    with pytest.raises(ValueError, match="Extra inputs"):
        Settings.model_validate({"stroage": "x"})
