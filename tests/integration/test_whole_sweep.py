"""`orch sweep cmd-meld` as a user runs it: in a process of its own, on a small stand-in corpus, from nothing."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

pytest.importorskip("espeakng_loader", reason="the stand-in corpus needs eSpeak NG: pip install 'orch[standin]'")

SMALL = (
    "run.corpus.utterances=210",
    "run.training.epochs=3",
    "run.teachers.audio.training.epochs=1",
    "run.teachers.text.training.epochs=1",
    "run.teachers.fusion.training.epochs=1",
    "search.scheduler.grace_epochs=2",
    "confirm.top=1",
    "confirm.seeds=2",
    "confirm.resamples=200",
    "confirm.mc_passes=3",
    "confirm.robustness={snr: [10], words_dropped: [0.3], words_substituted: []}",
)
ROLES = {"best", "default", "control", "unimodal", "teacher"}
HEARD, READ = ["white-10dB", "babble-10dB"], ["words-dropped-30%"]


def command(*more: str, trials: int = 4) -> list[str]:
    sets = [word for value in SMALL for word in ("--set", value)]
    return [sys.executable, "-m", "orchestrator.cli", "sweep", "cmd-meld", "--trials", str(trials), *sets, *more]


def environment(store: Path) -> dict[str, str]:
    """Nothing configured but where the store and the caches lie."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "MLFLOW_", "RAY_ADDR"))
    }
    return {
        **kept,
        "ORCH_STORAGE": str(store / "store"),
        "ORCH_CACHE": str(store / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def run(store: Path, *more: str, trials: int = 4) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*more, trials=trials),
        env=environment(store),
        cwd=store,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def finished_trials(store: Path) -> dict[str, bytes]:
    """The journal's finished trials, by key, as bytes."""
    found = {}
    for path in sorted((store / "store" / "sweeps").glob("*/trials/*.json")):
        data = path.read_bytes()
        if json.loads(data)["state"] in ("completed", "pruned", "failed"):
            found[f"{path.parent.parent.name}/{path.name}"] = data
    return found


def mlflow_runs(store: Path) -> list[Mapping[str, Any]]:
    """name, status and kind of every run in the SQLite store, read without MLflow."""
    connection = sqlite3.connect(store / "store" / "mlflow.db")
    query = (
        "select runs.name, runs.status, tags.value from runs join tags on runs.run_uuid = tags.run_uuid "
        "where tags.key = 'orch.kind'"
    )
    rows = connection.execute(query).fetchall()
    connection.close()
    return [{"name": name, "status": status, "kind": kind} for name, status, kind in rows]


def mlflow_metrics(store: Path, run_name: str) -> dict[str, float]:
    connection = sqlite3.connect(store / "store" / "mlflow.db")
    query = (
        "select latest_metrics.key, latest_metrics.value from latest_metrics "
        "join runs on runs.run_uuid = latest_metrics.run_uuid where runs.name = ?"
    )
    found = dict(connection.execute(query, (run_name,)).fetchall())
    connection.close()
    return found


def models_of(found: Mapping[str, Any]) -> set[str]:
    """The confirmed students; equal configurations share theirs."""
    return {model for row in found["leaderboard"] if row["role"] != "teacher" for model in row["models"]}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def first(store: Path) -> dict[str, Any]:
    return summary(run(store, "--json"))


def test_every_stage_ran_and_every_role_is_confirmed(first: dict[str, Any]) -> None:
    assert {name: stage["skipped"] for name, stage in first["stages"].items()} == dict.fromkeys(
        ("prepare", "teach", "harvest", "sweep", "confirm"), False
    )
    assert first["stand_in"] is True
    assert first["trials"]["total"] == 4
    assert first["trials"]["failed"] == 0
    assert {row["role"] for row in first["leaderboard"]} == ROLES
    assert [row["name"] for row in first["leaderboard"] if row["role"] == "unimodal"] == ["audio-only", "text-only"]
    for row in first["leaderboard"]:
        assert row["interval"]["low"] <= row["score"] <= row["interval"]["high"], row["name"]
        assert row["parameters"] > 0
    assert {gain["over"] for gain in first["gains"]} == {"default", "no-teacher"}
    assert first["ceilings"]["audio+text"] > max(first["ceilings"]["audio"], first["ceilings"]["text"])


def test_scores_are_those_of_the_stored_predictions(first: dict[str, Any], store: Path) -> None:
    from sklearn.metrics import f1_score

    best = first["leaderboard"][0]
    scores = []
    for model in best["models"]:
        table = pq.read_table(
            store / "store" / "models" / model / "predictions.parquet", filters=[("split", "=", "test")]
        )
        scores.append(f1_score(table["label"], table["predicted"], average="weighted", zero_division=0))
    assert best["score"] == pytest.approx(sum(scores) / len(scores), abs=1e-9)


def test_every_student_is_tried_on_missing_and_damaged_input(first: dict[str, Any], store: Path) -> None:
    names = {row["name"]: [one["name"] for one in row["robustness"]] for row in first["leaderboard"]}
    whole = ["only-audio", "only-text", *HEARD, *READ]
    assert {name: names[name] for name in ("best-1", "default", "no-teacher")} == dict.fromkeys(
        ("best-1", "default", "no-teacher"), whole
    )
    assert (names["audio-only"], names["text-only"], names["teacher-audio"]) == (HEARD, READ, [])
    for row in first["leaderboard"]:
        for one in row["robustness"]:
            assert one["interval"]["low"] <= one["score"] <= one["interval"]["high"]
            assert one["change"] == pytest.approx(one["score"] - row["score"], abs=1e-12)
            assert one["change_interval"]["low"] <= one["change"] <= one["change_interval"]["high"]
    root, best = store / "store", first["leaderboard"][0]
    assert len(list((root / "robustness").glob("*/record.json"))) == len(models_of(first))
    (kept,) = (root / "sweeps").glob("*/robustness-*.parquet")
    rows = pq.read_table(kept).to_pylist()
    assert len(rows) == 3 * (1 + len(whole)) + 1 + len(HEARD) + 1 + len(READ)
    assert [(one["condition"], one["score"]) for one in rows if one["model"] == "best-1"] == [
        ("clean", best["score"]), *((one["name"], one["score"]) for one in best["robustness"]),
    ]  # fmt: skip
    shown = mlflow_metrics(store, "best-1")
    for one in best["robustness"]:
        name = one["name"].replace("%", "pct")
        assert shown[f"robustness/{name}"] == one["score"]
        assert shown[f"robustness_change/{name}"] == one["change"]
    assert len(list((root / "mlflow-artifacts").glob("**/robustness.json"))) == 1


def test_a_second_run_skips_everything_and_says_the_same(first: dict[str, Any], store: Path) -> None:
    before = finished_trials(store)
    again = summary(run(store, "--json"))
    assert all(stage["skipped"] for stage in again["stages"].values())
    assert {k: v for k, v in again.items() if k != "stages"} == {k: v for k, v in first.items() if k != "stages"}
    assert finished_trials(store) == before


def test_more_trials_extend_the_sweep(first: dict[str, Any], store: Path) -> None:
    before = finished_trials(store)
    more = summary(run(store, "--json", trials=5))
    after = finished_trials(store)
    assert more["trials"]["total"] == 5
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1
    skipped = {name for name, stage in more["stages"].items() if stage["skipped"]}
    assert {"prepare", "teach", "harvest"} <= skipped


def test_further_conditions_train_nothing_again(first: dict[str, Any], store: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (store / "store" / "models").glob("*/record.json")}
    more = summary(run(store, "--json", "--set", "confirm.robustness.snr=[0]"))
    assert {name for name, stage in more["stages"].items() if not stage["skipped"]} == {"confirm"}
    assert more["stages"]["confirm"]["why"] == f"{len(models_of(first))} tried on missing and damaged input"
    after = {path: path.stat().st_mtime_ns for path in (store / "store" / "models").glob("*/record.json")}
    assert after == before
    best = more["leaderboard"][0]
    assert best["models"] == first["leaderboard"][0]["models"]
    assert [one["name"] for one in best["robustness"]][2:4] == ["white-0dB", "babble-0dB"]


def test_mlflow_shows_each_trial_once_and_leaves_none_running(first: dict[str, Any], store: Path) -> None:
    runs = mlflow_runs(store)
    trials = sorted(run["name"] for run in runs if run["kind"] == "trial")
    assert trials == sorted(set(trials))
    assert len(trials) >= first["trials"]["total"]
    assert sum(run["kind"] == "sweep" for run in runs) == 1
    assert {run["status"] for run in runs} <= {"FINISHED", "KILLED"}


def test_a_killed_driver_loses_and_repeats_nothing(first: dict[str, Any], store: Path) -> None:
    """kill -9 in the middle of a fresh sweep; the same command then finishes it."""
    process = subprocess.Popen(
        command("--json", "--fresh", "--seed", "7", trials=6),
        env=environment(store),
        cwd=store,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        before = _wait_for_new(store, finished_trials(store), 2, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = summary(run(store, "--json", "--seed", "7", trials=6))
    after = finished_trials(store)
    assert {key: after[key] for key in before} == before
    assert done["trials"]["total"] == 6
    assert {run["status"] for run in mlflow_runs(store)} <= {"FINISHED", "KILLED", "FAILED"}


def test_without_a_terminal_there_are_no_control_codes(first: dict[str, Any], store: Path) -> None:
    done = run(store)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "\x1b" not in done.stdout + done.stderr
    assert "best-1" in done.stdout
    assert "STAND-IN" in done.stdout.upper()


def _wait_for_new(
    store: Path, known: Mapping[str, bytes], count: int, process: subprocess.Popen[bytes]
) -> dict[str, bytes]:
    """All finished trials once `count` new ones are there."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        found = finished_trials(store)
        if len(set(found) - set(known)) >= count:
            return found
        assert process.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.2)
    raise AssertionError("no trial finished in time")
