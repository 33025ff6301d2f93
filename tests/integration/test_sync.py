"""A sweep sent to MLflow from what is stored of it, and what earlier drivers left: on SQLite, without Ray."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import ExperimentError
from orchestrator.events import Observer
from orchestrator.lease import Timing, driving
from orchestrator.recording import recording
from orchestrator.resending import Resent, resend
from orchestrator.tracking.client import connect
from orchestrator.tracking.spool import waiting
from tests.helpers.cli import orch
from tests.helpers.mlflow_store import runs, story
from tests.helpers.tracked import BEGAN, EPOCHS, SETS, Tracked

TRIALS = 5
NOWHERE = "http://127.0.0.1:9"
"""Where nothing listens."""
Say = Callable[[str, str], None]


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Callable[[str], str]:
    """The URI of an empty store of that name, with its artifacts beside it."""

    def made(name: str) -> str:
        (tmp_path / name).mkdir()
        shutil.copyfile(empty_store, tmp_path / name / "mlflow.db")
        return f"sqlite:///{tmp_path / name}/mlflow.db"

    return made


@pytest.fixture
def at(tmp_path: Path) -> Callable[..., Tracked]:
    def made(uri: str, storage: str = "store", cache: str = "cache") -> Tracked:
        return Tracked.at(str(tmp_path / storage), uri, tmp_path / cache)

    return made


def sync(tracked: Tracked) -> Resent:
    return resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: None)


def dump(uri: str) -> list[str]:
    """Every row of every table."""
    connection = sqlite3.connect(uri.removeprefix("sqlite:///"))
    lines = list(connection.iterdump())
    connection.close()
    return lines


def files(uri: str) -> dict[str, tuple[int, bytes]]:
    """Every artifact with the time of its last change."""
    folder = Path(uri.removeprefix("sqlite:///")).parent / "mlflow-artifacts"
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in found}


def live(tracked: Tracked) -> Tracked:
    tracked.whole(TRIALS, tracked.recorder())
    return tracked


def stored(tracked: Tracked) -> None:
    """The whole sweep, of which MLflow was told nothing."""
    tracked.run(range(TRIALS), Observer())
    tracked.seal()


def test_what_is_stored_shows_the_whole_sweep_at_its_own_times(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    uri = store("a")
    tracked = at(uri)
    stored(tracked)
    sent = sync(tracked)
    assert (sent.trials, sent.models, sent.finished, sent.refused) == (TRIALS, 6, True, [])
    found = runs(uri)
    states = ["FINISHED"] * 3 + ["KILLED", "FAILED"]
    assert [found[f"trial-{i:04d}"]["status"] for i in range(TRIALS)] == states
    for number in range(TRIALS):
        run, began = found[f"trial-{number:04d}"], int((BEGAN + 100 * number) * 1000)
        assert run["times"] == (began, began + 50_250)
        assert [(step, time) for step, _, time in run["metrics"]["loss"]] == [
            (epoch, began + 10_500 * epoch) for epoch in range(1, EPOCHS + 1)
        ]
        assert run["params"]["run.training.learning_rate"] == run["params"]["training.learning_rate"]
    parent = found[tracked.name]
    assert parent["status"] == "FINISHED" and parent["times"][0] == int(BEGAN * 1000)
    assert parent["metrics"]["stage/sweep/seconds"][0][1] == 12.35
    assert parent["tags"]["orch.stage.prepare"] == "skipped: its output exists"
    assert "| best-1 | best |" in parent["tags"]["mlflow.note.content"]
    assert set(parent["artifacts"]) == {"curves.parquet", "summary.json", "trials.parquet"}
    assert {run["tags"]["mlflow.parentRunId"] for name, run in found.items() if name != tracked.name} == {
        parent["id"]
    }


def test_twice_changes_nothing(store: Callable[[str], str], at: Callable[..., Tracked]) -> None:
    uri = store("a")
    tracked = at(uri)
    stored(tracked)
    sync(tracked)
    before = dump(uri), files(uri)
    assert len(before[1]) == 3
    sync(at(uri))
    assert (dump(uri), files(uri)) == before


def test_after_the_live_sweep_it_changes_nothing_either(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    uri = store("a")
    live(at(uri))
    before = dump(uri), files(uri)
    sync(at(uri))
    assert (dump(uri), files(uri)) == before


def test_sent_live_or_from_the_storage_it_is_the_same_story(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    one, other = store("a"), store("b")
    live(at(one))
    sync(at(other))
    assert story(one) == story(other)


def test_a_sweep_whose_driver_was_lost_with_its_spool_ends_complete(
    store: Callable[[str], str], at: Callable[..., Tracked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first driver's events from trial 1's second epoch on are lost with its machine."""
    one, other = store("a"), store("b")
    live(at(one))
    first = at(other, storage="second", cache="lost")
    recorder = first.recorder()
    recorder.stage_started("sweep", "")
    first.run([0], recorder)
    trial = first.start(1, recorder)
    first.epoch(trial, recorder)
    recorder.close("KILLED", "interrupted")
    for _ in range(EPOCHS - 1):
        first.epoch(trial, Observer())
    first.finish(trial, Observer())
    first.run([2], Observer())
    lost = first.start(3, Observer())
    first.epoch(lost, Observer())
    shutil.rmtree(first.settings.cache)

    second = at(other, storage="second", cache="elsewhere")
    recorder = second.recorder()
    recorder.stage_skipped("prepare", "its output exists")
    recorder.stage_started("sweep", "")
    second._told(lost, recorder, state="running", attempts=1)
    for _ in range(EPOCHS - 1):
        second.epoch(lost, recorder)
    second.finish(lost, recorder)
    second.run([4], recorder)
    second.conclude(recorder)
    assert story(one) == story(other)


def test_an_unfinished_sweep_is_shown_as_one_and_goes_on(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    uri = store("a")
    tracked = at(uri)
    tracked.run([0], Observer())
    trial = tracked.start(1, Observer())
    tracked.epoch(trial, Observer())
    assert sync(tracked).finished is False
    found = runs(uri)
    assert {name: run["status"] for name, run in found.items()} == {
        tracked.name: "KILLED", "trial-0000": "FINISHED", "trial-0001": "KILLED",
    }  # fmt: skip
    assert [step for step, _, _ in found["trial-0001"]["metrics"]["loss"]] == [1]
    assert found["trial-0001"]["times"][1] == found["trial-0001"]["metrics"]["loss"][0][2]
    before = dump(uri)
    sync(tracked)
    assert dump(uri) == before
    recorder = tracked.recorder()
    recorder.stage_started("sweep", "")
    tracked._told(trial, recorder, state="running", attempts=2)
    tracked.epoch(trial, recorder)
    tracked.finish(trial, recorder)
    tracked.conclude(recorder)
    found = runs(uri)
    assert {run["status"] for run in found.values()} == {"FINISHED"}
    assert [step for step, _, _ in found["trial-0001"]["metrics"]["loss"]] == [1, 2]


def test_a_row_that_another_model_takes_is_another_run(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    """Parameters can never change in MLflow."""
    uri = store("a")
    tracked = at(uri)
    tracked.run([0, 1], Observer())
    tracked.seal()
    sync(tracked)
    recorder = tracked.recorder()
    recorder.stage_started("sweep", "")
    tracked.run([2], recorder)
    tracked.conclude(recorder)
    for _ in range(2):
        found = runs(uri)
        assert found["best-1"]["tags"]["orch.of_trial"] == "trial-0002"
        assert found["best-1"]["params"]["training.learning_rate"] == "0.003"
        assert found["best-1 (superseded)"]["params"]["training.learning_rate"] == "0.002"
        assert len([name for name in found if name.startswith("default")]) == 1
        before = dump(uri)
        sync(tracked)
        assert dump(uri) == before


def test_while_another_drives_it_only_what_is_finished_is_sent(
    store: Callable[[str], str], at: Callable[..., Tracked], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = store("a")
    tracked = at(uri)
    tracked.run([0], Observer())
    tracked.start(1, Observer())
    quick = Timing(beat=0.05, lost=20.0, look=0.1)
    said: list[str] = []
    with driving(tracked.storage.at(tracked.folder), tracked.folder, said.append, quick):
        monkeypatch.setattr("orchestrator.lease.Timing", lambda: quick)
        sent = resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: said.append(text))
    assert not sent.finished and any("is being driven by process" in text for text in said)
    assert {name: run["status"] for name, run in runs(uri).items()} == {
        tracked.name: "RUNNING", "trial-0000": "FINISHED",
    }  # fmt: skip


def test_a_driver_that_was_followed_changes_nothing_of_its_follower(
    store: Callable[[str], str], at: Callable[..., Tracked], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It slept, woke, and its storage told it that another one drives: what it spooled only fills gaps."""
    uri = store("a")
    first, second = at(uri, cache="slow"), at(uri, cache="quick")
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("orchestrator.tracking.courier.connect", lambda uri: connect(NOWHERE))
        with recording(first.plan, first.settings, first.folder, Observer(), holds=lambda: False) as recorder:
            recorder.stage_started("sweep", "")
            first.run([0], recorder)
            trial = first.start(1, recorder)
            first.epoch(trial, recorder)
            raise KeyboardInterrupt
    assert waiting(first.settings.cache / "mlflow-spool")
    live(second)
    before = {name: run for name, run in runs(uri).items() if name != "best-1"}
    recorder = first.recorder()  # any later driver on the machine of the first sends what it left
    monkeypatch.setattr(recorder, "folder", "sweeps/another")
    recorder.stage_started("sweep", "")
    recorder.close("KILLED", "interrupted")
    assert not waiting(first.settings.cache / "mlflow-spool")
    after = runs(uri)
    assert {name: after[name] for name in before} == before


def test_a_lost_driver_elsewhere_is_followed_in_mlflow_by_who_holds_the_sweep(
    store: Callable[[str], str], at: Callable[..., Tracked]
) -> None:
    uri = store("a")
    tracked = at(uri)
    far = '{"host":"far","pid":1,"boot":"b","started":"1"}'
    client = connect(uri)
    for sweep in (tracked.name, "other"):
        for kind, name in (("sweep", sweep), ("trial", f"{sweep}-trial")):
            tags = {"orch.sweep": sweep, "orch.kind": kind, "orch.owner": far, "orch.trial": name}
            client.create_run("0", tags=tags, run_name=name)
    tracked.run([0], Observer())
    sync(tracked)
    found = {run.info.run_name: run.info.status for run in client.search_runs(["0"])}
    assert found[f"{tracked.name}-trial"] == "KILLED"
    assert (found["other"], found["other-trial"]) == ("RUNNING", "RUNNING")


def test_the_command_says_what_mlflow_shows_and_which_sweeps_there_are(
    store: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = store("a")
    stored(Tracked.at(str(tmp_path / "store"), uri, tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("ORCH_CACHE", str(tmp_path / "cache"))
    given = ["--stand-in", "--scale", "laptop", "--storage", str(tmp_path / "store")]
    sets = [word for one in SETS for word in ("--set", one)]
    done = orch("sync", "cmd-meld", *given, *sets)
    assert done.code == 0, done.err
    assert (
        f"shows cmd-meld-{Tracked.at(str(tmp_path / 'store'), uri, tmp_path).plan.sweep}: {TRIALS} trials"
        in done.out
    )
    other = orch("sync", "cmd-meld", *given, *sets, "--seed", "9")
    assert other.code == 2 and "of cmd-meld it has cmd-meld-" in other.err
    assert not (tmp_path / "store" / "sweeps" / "drivers").exists()


def test_a_storage_without_the_sweep_is_left_as_it_is(tmp_path: Path, at: Callable[..., Tracked]) -> None:
    with pytest.raises(ExperimentError, match="orch sweep cmd-meld makes one"):
        sync(at(NOWHERE))
    assert not (tmp_path / "store").exists()
