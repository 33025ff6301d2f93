"""A sweep on three nodes, with S3 and an MLflow server on PostgreSQL, that loses a node in every stage and its
driver in the middle of the search, and ends as one that nothing befell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import TrialRecord
from orchestrator.journal import Journal
from tests.helpers.driver import SMALL, Driver, sets, undisturbed
from tests.helpers.services.mlflow import MlflowServer, mlflow_server
from tests.helpers.services.postgres import Postgres
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.services.s3 import SECRET, S3Server
from trainables.storage import Storage

pytest.importorskip("espeakng_loader", reason="the stand-in corpus needs eSpeak NG: pip install 'orch[standin]'")

TRIALS = 12
ROLES = {"best", "default", "control", "unimodal", "teacher"}
SWEPT = {**SMALL, "run.training.epochs": "8", "search.scheduler.grace_epochs": "4"}
"""Trials of some seconds, so that there is something to lose."""
STAGES = ("teach", "harvest", "sweep", "confirm")


@dataclass
class Story:
    """What was left."""

    storage: Storage
    folder: Path
    mlflow: MlflowServer
    first: str
    """What the first driver printed."""
    second: str
    summary: dict[str, Any]
    killed: dict[str, int]
    """By stage: the node lost there."""
    trials_before: int
    """Finished when the first driver was killed."""
    placement_groups: list[dict[str, Any]]
    sweep: str


def environment(s3: S3Server, mlflow: MlflowServer, nodes: RayNodes, store: str, cache: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "MLFLOW_", "RAY_"))}
    return {
        **kept,
        **s3.environment,
        **nodes.environment,
        "RAY_ADDRESS": nodes.address,
        "ORCH_STORAGE": store,
        "ORCH_CACHE": str(cache),
        "MLFLOW_TRACKING_URI": mlflow.uri,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def arguments(*more: str) -> list[str]:
    return ["sweep", "cmd-meld", "--scale", "laptop", "--trials", str(TRIALS), *sets(SWEPT), *more]


@pytest.fixture(scope="module")
def story(s3: S3Server, pg: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("whole-cluster")
    store = s3.make_bucket("whole-cluster") + "/store"
    with ExitStack() as stack:
        for name, value in s3.environment.items():
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        mlflow = stack.enter_context(
            mlflow_server(folder, pg.make_database("whole"), "s3://whole-cluster/mlflow", s3.environment)
        )
        nodes = stack.enter_context(ray_nodes(folder, [1, 1, 1], s3.environment, dashboard=True))
        yield told(folder, Storage(store), s3, mlflow, nodes)


def told(folder: Path, storage: Storage, s3: S3Server, mlflow: MlflowServer, nodes: RayNodes) -> Story:
    killed: dict[str, int] = {}

    def lose_a_node(stage: str) -> None:
        killed[stage] = nodes.last
        nodes.kill(nodes.last)
        nodes.begin(1)

    first = Driver(
        arguments(), environment(s3, mlflow, nodes, storage.root, folder / "cache-1"), folder / "first.log"
    )
    first.until(lambda: storage.list("unfinished/teachers"), "a teacher's first checkpoint")
    lose_a_node("teach")
    first.wait_for("harvest: started")
    lose_a_node("harvest")
    first.wait_for(r"trial \d+.*: (completed|pruned)")
    lose_a_node("sweep")
    first.until(lambda: len(finished(storage)) >= 3, "three finished trials")
    first.kill()
    before = finished(storage)

    where = environment(s3, mlflow, nodes, storage.root, folder / "cache-2")
    second = Driver(arguments(), where, folder / "second.log", host="elsewhere")
    second.wait_for("confirm: started")
    lose_a_node("confirm")
    assert second.wait() == 0, second.text()[-4000:]
    third = Driver(arguments("--json"), where, folder / "third.log")
    assert third.wait() == 0, third.text()[-4000:]
    (sweep,) = storage.folders("sweeps")
    return Story(
        storage=storage,
        folder=folder,
        mlflow=mlflow,
        first=first.text(),
        second=second.text(),
        summary=json.loads(third.text().strip().splitlines()[-1]),
        killed=killed,
        trials_before=len(before),
        placement_groups=nodes.placement_groups(),
        sweep=sweep,
    )


def finished(storage: Storage) -> list[TrialRecord]:
    return [
        trial for name in storage.folders("sweeps") for trial in Journal(storage.at(f"sweeps/{name}")).read()
        if trial.finished
    ]  # fmt: skip


def test_a_node_was_lost_in_every_stage_and_the_driver_in_the_search(story: Story) -> None:
    assert set(story.killed) == set(STAGES)
    assert 3 <= story.trials_before < TRIALS
    assert "elsewhere" not in story.first
    assert "to see whether it still is" in story.second


def test_every_trial_ran_to_its_end_once(story: Story) -> None:
    trials = Journal(story.storage.at(f"sweeps/{story.sweep}")).read()
    assert [trial.number for trial in trials] == list(range(TRIALS))
    assert {trial.state for trial in trials} <= {"completed", "pruned"}
    for trial in trials:
        assert [report.epoch for report in trial.reports] == list(range(1, trial.epochs + 1)), trial.number
        assert trial.ended >= trial.started
    assert story.summary["trials"]["total"] == TRIALS
    assert any(trial.attempts > 1 for trial in trials), "what was lost was running somewhere"


def test_every_score_is_that_of_an_undisturbed_run(story: Story, tmp_path: Path) -> None:
    for trial in Journal(story.storage.at(f"sweeps/{story.sweep}")).read():
        curve = [report.metrics["dev/weighted_f1"] for report in trial.reports]
        assert curve == undisturbed(story.storage, story.sweep, trial, tmp_path), trial.number


def test_the_leaderboard_is_complete(story: Story) -> None:
    rows = story.summary["leaderboard"]
    assert {row["role"] for row in rows} == ROLES
    for row in rows:
        assert row["role"] == "teacher" or len(row["seeds"]) == 2, row["name"]
        assert row["score"] > 0
        assert row["role"] == "teacher" or row["robustness"], row["name"]


def test_mlflow_shows_each_trial_once_and_none_running(story: Story) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=story.mlflow.uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "cmd-meld"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    kinds = [run.data.tags["orch.kind"] for run in runs]
    assert kinds.count("sweep") == 1
    trials = sorted(run.data.tags["orch.trial"] for run in runs if run.data.tags["orch.kind"] == "trial")
    assert trials == [f"trial-{number:04d}" for number in range(TRIALS)]
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    parent = next(run for run in runs if run.data.tags["orch.kind"] == "sweep")
    assert parent.info.status == "FINISHED"


def test_nothing_is_left_reserved_or_unfinished(story: Story) -> None:
    assert [group for group in story.placement_groups if group["state"] != "REMOVED"] == []
    assert story.storage.list("unfinished") == []
    assert story.storage.list(f"sweeps/{story.sweep}/checkpoints") == []
    assert [one.key for one in story.storage.list() if "/ray/" in f"/{one.key}"] == []


def test_the_secret_is_nowhere(story: Story, s3: S3Server, pg: Postgres) -> None:
    """In nothing that was stored, logged or shown."""
    needle = SECRET.encode()
    client = s3.client()
    for key in s3.objects("whole-cluster"):
        assert needle not in client.get_object(Bucket="whole-cluster", Key=key)["Body"].read(), key
    for path in story.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert needle not in path.read_bytes(), path
    assert needle not in pg.dump()
