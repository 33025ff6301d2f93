"""`orch doctor` and `orch ui`: each finding on a machine that has it and on one that lacks it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import doctor as examination
from orchestrator import settings as circumstances
from orchestrator import tracking
from orchestrator.commands import ui
from orchestrator.doctor import Finding, packages, places, servers, teachers
from orchestrator.doctor.finding import hidden
from orchestrator.errors import SettingsError
from orchestrator.launch import access
from orchestrator.settings import CORPORA, Settings
from tests.helpers.cli import bare_machine, orch
from tests.helpers.crema_d_trees import names, write_stubs
from tests.helpers.meld_trees import row, write_csvs, write_tree
from trainables.spec import Pretrained


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)
    monkeypatch.setattr(places, "GPU", tmp_path / "no-gpu")


def settings(**flags: Any) -> Settings:
    return circumstances.load(flags)


@pytest.mark.parametrize(
    ("levels", "code"), [(("ok", "ok"), 0), (("ok", "warn"), 0), (("fail", "ok"), 1), (("ok", "fail"), 1)]
)
def test_it_exits_with_1_where_something_fails(
    levels: tuple[Any, ...], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding(f"thing {level}", level, "told", "mend it so") for level in levels]
    checks: tuple[Callable[[Settings], list[Finding]], ...] = (lambda _: found,)
    monkeypatch.setattr(examination, "CHECKS", checks)
    done = orch("doctor")
    assert done.code == code
    for level in levels:
        assert f"{level:<4} thing {level}: told" in done.out
    assert done.out.count("-> mend it so") == 2
    assert "\x1b" not in done.out


def test_it_shows_the_settings_with_their_origin_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CHECKS", ())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow:5000")
    lines = [" ".join(line.split()) for line in orch("doctor", "--storage", "memory://x").out.splitlines()]
    assert "storage memory://x --storage" in lines
    assert "mlflow_tracking_uri https://***@mlflow:5000 MLFLOW_TRACKING_URI" in lines


def test_hidden_leaves_other_addresses_alone() -> None:
    for url in ("s3://bucket/a@b", "/data/store", "sqlite:////data/mlflow.db", "http://mlflow:5000"):
        assert hidden(url) == url


def test_python_and_packages_of_this_environment_are_met() -> None:
    assert [one.level for one in packages.interpreter(settings())] == ["ok"]
    assert packages.requirements(settings())[0].level in ("ok", "warn")


def test_requirements_that_are_not_met_are_named() -> None:
    wanted = ["pydantic>=2", "pydantic<1", "no-such-package-at-all", 'also-absent; extra == "dev"']
    assert packages.unmet(wanted) == [
        f"pydantic is {packages.installed('pydantic')}, needed is <1",
        "no-such-package-at-all is not installed",
    ]


def test_packages_of_another_version_than_pinned_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("# all of it\npydantic==0.1  # old\nno-such-package==1.0\n\n", encoding="utf-8")
    assert packages.read_pins(pins) == {"pydantic": "0.1", "no-such-package": "1.0"}
    monkeypatch.setattr(packages, "CONSTRAINTS", pins)
    (found,) = packages.requirements(settings())
    assert found.level == "warn"
    assert found.told.startswith(f"pydantic is {packages.installed('pydantic')}, pinned is 0.1")


def test_a_long_list_of_faults_is_cut() -> None:
    assert packages.listed(list("abcdefgh")) == "a; b; c; d; e; f and 2 more"


def test_a_slip_of_the_pen_in_the_environment_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.strangers(settings()) == []
    monkeypatch.setenv("ORCH_STORGE", "/data")
    for name in ("ORCH_STORAGE", "ORCH_CORPORA__MELD", "ORCH_ALIGNMENTS__STANDIN"):
        monkeypatch.setenv(name, "/data")
    assert [one.told for one in places.strangers(settings())] == ["ORCH_STORGE is no setting of ours"]


def test_storage_is_written_and_read_and_left_as_it_was(tmp_path: Path) -> None:
    (found,) = servers.storage(settings())
    assert found.level == "ok"
    assert not (tmp_path / "orch-store").exists()
    (tmp_path / "orch-store").mkdir()
    servers.storage(settings())
    assert list((tmp_path / "orch-store").iterdir()) == []


@pytest.mark.parametrize("storage", ["/dev/null/store", "nosuchscheme://bucket"])
def test_a_storage_that_cannot_be_written_fails(storage: str) -> None:
    (found,) = servers.storage(settings(storage=storage))
    assert (found.level, "ORCH_STORAGE" in found.mend or "give a folder" in found.told) == ("fail", True)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_ray_address_where_no_ray_answers_fails(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "REACH_SECONDS", 1.0)
    assert servers.ray(settings())[0].told.startswith("no cluster configured: a local one")
    closed = servers.ray(settings(ray_address="127.0.0.1:1"))[0]
    assert (closed.level, "no cluster answers (Connection refused)" in closed.told) == ("fail", True)
    silent = servers.ray(settings(ray_address=f"ray://127.0.0.1:{listening}"))[0]
    assert (silent.level, "no Ray client server" in silent.told) == ("fail", True)


def test_a_gpu_that_torch_cannot_use_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert places.gpu(settings())[0].told.startswith("none")
    monkeypatch.setattr(places, "GPU", tmp_path)
    monkeypatch.setattr(places, "_nvidia", lambda: "H100, 80 GiB")
    monkeypatch.setattr(places, "installed", lambda name: "2.13.0+cpu")
    assert places.gpu(settings())[0].level == "warn"
    monkeypatch.setattr(places, "installed", lambda name: "2.13.0")
    assert places.gpu(settings())[0] == Finding("gpu", "ok", "H100, 80 GiB")


def test_a_corpus_is_absent_there_or_broken(tmp_path: Path) -> None:
    assert [one.level for one in places.corpora(settings())] == ["warn"] * len(CORPORA)
    rows = {split: [row(n, 0)] for n, split in enumerate(("train", "dev", "test"))}
    root = write_tree(tmp_path / "meld", rows)
    there = places.corpora(settings(corpora={"meld": str(root)}))
    assert (there[0].level, there[0].told) == ("ok", f"{root} (from --root)")
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        assert places.corpora(settings(corpora={"meld": str(tmp_path / folder)}))[0].level == "fail"


def test_a_corpus_without_its_clips_is_good_for_text(tmp_path: Path) -> None:
    found = places.corpora(settings(corpora={"meld": str(write_csvs(tmp_path / "meld"))}))[0]
    assert (found.level, "its texts alone: " in found.told) == ("warn", True)


def test_a_corpus_of_stubs_is_told_with_the_way_out(tmp_path: Path) -> None:
    root = write_stubs(tmp_path / "crema", names())
    findings = places.corpora(settings(corpora={"crema_d": str(root)}))
    found = findings[CORPORA.index("crema_d")]
    assert (found.level, found.mend) == (
        "warn",
        "mend the folder or ORCH_CORPORA__CREMA_D; orch prepare crema_d tells more",
    )
    assert "12 of 12 files are Git-LFS stubs" in found.told
    assert "`git lfs pull`" in found.told


def test_without_the_synthesiser_the_stand_in_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "find_spec", lambda name: None)
    assert places.speech(settings())[0].level == "fail"
    assert places.speech(settings(corpora={"meld": str(tmp_path)}))[0].level == "warn"


def test_an_mlflow_that_does_not_answer_fails_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers.mlflow(settings())[0].level == "ok"

    def ping(uri: str) -> str:
        raise SettingsError(f"MLflow at {uri} does not answer")

    monkeypatch.setattr(tracking, "ping", ping)
    (found,) = servers.mlflow(settings(mlflow_tracking_uri="http://mlflow:5000"))
    assert (found.level, found.told) == ("fail", "MLflow at http://mlflow:5000 does not answer")
    assert found.mend


def test_teachers_are_a_folder_in_the_cache_or_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    broken = teachers._found(Pretrained(checkpoint=str(folder)), ["small text"])
    assert broken.level == "warn"
    assert "no *.safetensors in it" in broken.told
    (folder / "model.safetensors").write_bytes(b"")
    assert teachers._found(Pretrained(checkpoint=str(folder)), ["small text"]).level == "ok"
    monkeypatch.setattr(teachers, "cached", lambda name, revision: folder)
    assert teachers._found(Pretrained(checkpoint="some/bert"), ["small text"]).told == f"{folder} (for small text)"
    monkeypatch.setattr(teachers, "cached", lambda name, revision: None)
    absent = teachers._found(Pretrained(checkpoint="some/bert"), ["small text"])
    assert (absent.level, "hf download some/bert" in absent.mend) == ("warn", True)


def test_every_pretrained_teacher_of_every_experiment_is_looked_for() -> None:
    wanted = {checkpoint.checkpoint: users for checkpoint, users in teachers._wanted().items()}
    assert {"cmd-meld audio", "meta-iemocap audio"} <= set(wanted["facebook/wav2vec2-base"])
    assert "cmd-meld-text text" in wanted["bert-base-uncased"]
    assert not any(user.endswith("text") for user in wanted["facebook/wav2vec2-base"])


def test_many_users_of_a_teacher_are_counted() -> None:
    assert teachers._told(["a audio", "b text"]) == "(for a audio, b text)"
    assert teachers._told(["a audio", "a text", "b audio", "c audio"]) == "(for 3 experiments)"


def test_ui_runs_mlflow_on_the_configured_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def served(command: list[str]) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(ui, "served", served)
    found = orch("ui", "--port", "5050")
    assert found.code == 0
    assert "http://127.0.0.1:5050" in found.out
    assert f"sqlite:///{tmp_path}/orch-store/mlflow.db" in ran[0]
    assert (tmp_path / "orch-store").is_dir()


def test_ending_the_ui_ends_what_its_server_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = tmp_path / "pids"
    child = "import time; time.sleep(60)"
    server = f"import os, subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}]); " + (
        f"open({str(told)!r}, 'w').write(str(p.pid))"
    )
    assert ui.served([sys.executable, "-c", server]) == 0
    started = int(told.read_text())
    for _ in range(100):
        if not _lives(started):
            return
        time.sleep(0.05)
    os.kill(started, signal.SIGKILL)
    pytest.fail("what the server had started outlived it")


def test_ui_of_a_server_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    found = orch("ui")
    assert (found.code, "http://mlflow:5000" in found.out) == (0, True)


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has asked after does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
