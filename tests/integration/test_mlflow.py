"""The observer on real stores: SQLite in a temporary folder, and one server that goes away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Interrupted
from orchestrator.events import Interval, ModelRow, Report, Spread, TrialRecord
from orchestrator.tracking import DataInput, MlflowObserver, SweepInfo, ping, reconcile
from orchestrator.tracking import courier as courier_module
from orchestrator.tracking.client import connect
from orchestrator.tracking.runs import Handle, Runs
from orchestrator.tracking.spool import Segment, store_key
from orchestrator.tracking.writer import Writer
from trainables.spec import RunSpec

SWEEP = "cmd-meld-ab12"
Said = list[str]


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def info(tmp_path: Path, **changes: Any) -> SweepInfo:
    given: dict[str, Any] = {
        "sweep": SWEEP,
        "claim": "Distilling helps.",
        "stand_in": True,
        "tags": {"corpus": "standin"},
        "params": {"search": {"trials": 3}},
        "inputs": [DataInput(name="transfer_set", digest="ab12cd", source="s3://bucket/transfer_sets/ab12cd")],
        "artifact_location": str(tmp_path / "mlflow-artifacts"),
    }
    return SweepInfo(**{**given, **changes})


def observer(uri: str, spool: Path, tmp_path: Path, said: Said | None = None, **changes: Any) -> MlflowObserver:
    return MlflowObserver(
        info(tmp_path),
        uri=uri,
        spool=spool,
        say=lambda text, level: said.append(text) if said is not None else None,
        resolve=lambda trial: RunSpec(),
        every=0.02,
        retry=(0.02, 0.1),
        **changes,
    )


def trial(number: int, epochs: int = 0, **changes: Any) -> TrialRecord:
    params = {"method.temperature": 2.0}
    record = TrialRecord(number=number, role="search", params=params, state="running", started=1000.0)
    for e in range(1, epochs + 1):
        record.reports.append(Report(epoch=e, metrics={"dev/weighted_f1": e / 10, "loss": 1 / e}))
    return record.model_copy(update=changes)


def run_trial(watch: MlflowObserver, number: int, state: str, epochs: int = 3, reason: str = "") -> None:
    record = trial(number)
    watch.trial_changed(record)
    for report in trial(number, epochs).reports:
        record.reports.append(report)
        watch.trial_reported(record, report)
    ended = {"state": state, "reason": reason, "ended": 1060.0, "values": {"weighted_f1": epochs / 10}}
    watch.trial_changed(record.model_copy(update=ended))


def row(name: str = "best-1") -> ModelRow:
    return ModelRow(
        name=name,
        role="best",
        score=0.61,
        sd=None,
        interval=Interval(low=0.58, high=0.64),
        dev_score=0.6,
        seeds=[1000],
        parameters=1000,
        latency_ms=1.0,
        params={"method.temperature": 2.0},
    )


def runs_of(uri: str) -> dict[str, Any]:
    client = connect(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def everything(uri: str) -> dict[str, Any]:
    """All that a store holds of the runs: status, times, parameters, tags, whole metric histories."""
    client = connect(uri)
    found = {}
    for name, run in runs_of(uri).items():
        history = {
            k: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, k))
            for k in run.data.metrics
        }
        i = run.info
        found[name] = (i.run_id, i.status, i.start_time, i.end_time, run.data.params, run.data.tags, history)
    return found


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_sweep_is_a_parent_with_nested_runs(uri: str, spool: Path, tmp_path: Path) -> None:
    table = tmp_path / "trials.parquet"
    table.write_bytes(b"rows")
    with observer(uri, spool, tmp_path) as watch:
        watch.stage_skipped("prepare", "corpora/ab12 is there")
        watch.stage_finished("sweep", 12.5, "3 trials")
        run_trial(watch, 0, "completed")
        run_trial(watch, 1, "pruned", epochs=2, reason="asha")
        run_trial(watch, 2, "failed", epochs=1, reason="DivergedError: epoch 2")
        watch.model_confirmed(row())
        watch.artifact(table)
        table.unlink()
    runs = runs_of(uri)
    parent = runs[SWEEP]
    assert {n: r.info.status for n, r in runs.items()} == {
        SWEEP: "FINISHED",
        "trial-0000": "FINISHED",
        "trial-0001": "KILLED",
        "trial-0002": "FAILED",
        "best-1": "FINISHED",
    }
    children = [r for r in runs.values() if r is not parent]
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parent.info.run_id}
    assert {r.data.tags["orch.stand_in"] for r in runs.values()} == {"true"}
    assert runs["trial-0001"].data.tags["orch.stop_reason"] == "asha"
    assert runs["trial-0002"].data.tags["orch.reason"] == "DivergedError: epoch 2"
    assert parent.data.params == {"search.trials": "3"}
    assert parent.data.tags["orch.corpus"] == "standin"
    assert parent.data.tags["orch.stage.prepare"] == "skipped: corpora/ab12 is there"
    assert parent.data.metrics["stage/sweep/seconds"] == 12.5
    note = parent.data.tags["mlflow.note.content"]
    assert note.startswith("**STAND-IN") and "| best-1 | best | 61.0 |" in note
    (read,) = [d.dataset for d in parent.inputs.dataset_inputs]
    assert (read.name, read.digest, read.source_type) == ("transfer_set", "ab12cd", "s3")
    client = connect(uri)
    assert [a.path for a in client.list_artifacts(parent.info.run_id)] == ["trials.parquet"]
    assert list(spool.iterdir()) == []
    done = runs["trial-0000"]
    assert done.data.params["method.temperature"] == "2.0"
    assert done.data.params["run.seed"] == "0"
    assert done.info.start_time == 1000_000 and done.info.end_time == 1060_000
    history = client.get_metric_history(done.info.run_id, "dev/weighted_f1")
    assert [(m.step, m.value) for m in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert done.data.metrics["final/loss"] == pytest.approx(1 / 3) and done.data.metrics["best/epoch"] == 3
    trials = [runs[f"trial-000{i}"] for i in range(3)]
    assert len({frozenset(r.data.metrics) for r in trials}) == 1
    assert runs["best-1"].data.metrics["interval/low"] == 0.58


def test_folds_and_confusions_are_shown(uri: str, spool: Path, tmp_path: Path) -> None:
    table = tmp_path / "confusion.json"
    table.write_text(json.dumps({"columns": ["model", "label", "joy"], "data": [["best-1", "joy", 3]]}), "utf-8")
    reports = [
        Report(epoch=step, metrics={"fold": fold, "dev/weighted_f1": score})
        for step, fold, score in ((1, 0.0, 0.5), (2, 0.0, 0.25), (3, 1.0, 0.125), (4, 1.0, 0.75))
    ]
    values = {"weighted_f1": 0.625, "weighted_f1/sd": 0.1, "fold/0/weighted_f1": 0.5, "fold/1/weighted_f1": 0.75}
    spread = Spread(mean=0.625, sd=0.18, each=[0.5, 0.75])
    with observer(uri, spool, tmp_path) as watch:
        ended = trial(0).model_copy(
            update={"state": "completed", "values": values, "reports": reports, "ended": 1060}
        )
        watch.trial_changed(ended)
        watch.model_confirmed(row().model_copy(update={"folds": {"uar": spread}}))
        watch.table(table)
        watch.table(Path(shutil.copy(table, tmp_path / "robustness.json")))
        watch.table(table)
    runs = runs_of(uri)
    metrics = runs["trial-0000"].data.metrics
    assert (metrics["objective/weighted_f1"], metrics["objective/fold/1/weighted_f1"]) == (0.625, 0.75)
    assert (metrics["best/dev/weighted_f1"], metrics["fold/0/dev/weighted_f1"]) == (0.625, 0.5)
    shown = runs["best-1"].data.metrics
    assert [shown[k] for k in ("folds/uar/mean", "folds/uar/sd", "fold/0/uar", "fold/1/uar")] == [
        0.625,
        0.18,
        0.5,
        0.75,
    ]
    parent = runs[SWEEP]
    names = ["confusion.json", "robustness.json"]
    assert json.loads(parent.data.tags["mlflow.loggedArtifacts"]) == [
        {"path": name, "type": "table"} for name in names
    ]
    assert [a.path for a in connect(uri).list_artifacts(parent.info.run_id)] == names


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Interrupted("Ctrl-C"), ("KILLED", "orch.stop_reason", "interrupted")),
        (RuntimeError("no space"), ("FAILED", "orch.reason", "RuntimeError: no space")),
    ],
)
def test_what_ends_early_leaves_nothing_running(
    uri: str, spool: Path, tmp_path: Path, error: Exception, says: tuple[str, str, str]
) -> None:
    with pytest.raises(type(error)), observer(uri, spool, tmp_path) as watch:
        watch.trial_changed(trial(0))
        raise error
    runs = runs_of(uri)
    parent = runs[SWEEP]
    assert (parent.info.status, says[1], parent.data.tags[says[1]]) == says
    assert runs["trial-0000"].info.status == "KILLED"


def test_a_resumed_trial_goes_on_in_its_own_run(uri: str, spool: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted), observer(uri, spool, tmp_path) as watch:
        record = trial(0, epochs=2)
        watch.trial_changed(record)
        raise Interrupted("Ctrl-C")
    first = runs_of(uri)
    with observer(uri, spool, tmp_path) as watch:
        watch.trial_changed(trial(0, epochs=1, attempts=1))
        for report in trial(0, epochs=4).reports[1:]:
            watch.trial_reported(trial(0), report)
        until(lambda: runs_of(uri)["trial-0000"].info.status == "RUNNING")
        watch.trial_changed(trial(0, epochs=4, state="completed", ended=1100.0))
    runs = runs_of(uri)
    assert {n: r.info.run_id for n, r in runs.items()} == {n: r.info.run_id for n, r in first.items()}
    assert {r.info.status for r in runs.values()} == {"FINISHED"}
    history = connect(uri).get_metric_history(runs["trial-0000"].info.run_id, "epoch")
    assert [m.step for m in history] == [1, 2, 3, 4]
    assert not runs["trial-0000"].data.tags["orch.stop_reason"]


def test_replaying_a_spool_twice_changes_nothing(uri: str, spool: Path, tmp_path: Path) -> None:
    spool.mkdir()
    watch = observer(f"sqlite:////proc/nowhere/{tmp_path.name}.db", spool, tmp_path)
    run_trial(watch, 0, "completed")
    run_trial(watch, 1, "pruned")
    watch.model_confirmed(row())
    assert not watch.close(seconds=0.2)
    (path,) = spool.glob("*.jsonl")
    states = []
    for _ in range(3):
        copied = tmp_path / "copy.jsonl"
        shutil.copyfile(path, copied)
        segment = Segment.take(copied)
        assert segment is not None
        refused: Said = []
        writer = Writer(connect(uri), segment.header() or {}, segment.files, refused.append)
        writer.apply(segment.read(1000)[0])
        assert refused == []
        segment.release()
        states.append(everything(uri))
    assert len(states[0]) == 4
    assert states[0] == states[1] == states[2]


def test_telling_all_again_without_a_spool_adds_no_point(uri: str, spool: Path, tmp_path: Path) -> None:
    counts = []
    for _ in range(2):
        with observer(uri, spool, tmp_path) as watch:
            watch.trial_changed(trial(0, epochs=3, state="completed", ended=1100.0, values={"weighted_f1": 0.3}))
            watch.model_confirmed(row())
        counts.append({n: {k: len(h) for k, h in state[6].items()} for n, state in everything(uri).items()})
    assert counts[0] == counts[1] and counts[0]["trial-0000"]["loss"] == 3


def test_values_that_are_not_finite_are_left_out_and_named(uri: str, spool: Path, tmp_path: Path) -> None:
    with observer(uri, spool, tmp_path) as watch:
        record = trial(0)
        watch.trial_changed(record)
        for epoch, loss in enumerate((1.0, float("nan"), float("inf")), start=1):
            report = Report(epoch=epoch, metrics={"loss": loss, "odd=key": 1.0})
            record.reports.append(report)
            watch.trial_reported(record, report)
        watch.trial_changed(record.model_copy(update={"state": "failed", "reason": "diverged", "ended": 1100.0}))
    run = runs_of(uri)["trial-0000"]
    assert run.data.tags["orch.non_finite"].split() == ["loss@2", "loss@3", "final/loss@3"]
    assert [m.step for m in connect(uri).get_metric_history(run.info.run_id, "loss")] == [1]
    assert run.data.metrics["odd_key"] == 1.0 and run.data.metrics["epoch"] == 3


def test_requests_stay_within_what_mlflow_takes() -> None:
    sizes: list[tuple[int, int, int]] = []

    class Counting:
        def log_batch(self, run_id: str, metrics: list[Any], params: list[Any], tags: list[Any]) -> None:
            sizes.append((len(metrics), len(params), len(tags)))

    runs = Runs.__new__(Runs)
    runs.client = Counting()
    handle = Handle("id", "RUNNING")
    points = [(f"m{i}", 1.0, 0, 1) for i in range(2500)]
    runs.write(handle, points, {f"p{i}": "1" for i in range(250)}, {f"t{i}": "1" for i in range(30)})
    assert all(m <= 1000 and p <= 100 and t <= 100 and m + p + t <= 1000 for m, p, t in sizes)
    assert tuple(map(sum, zip(*sizes, strict=True))) == (2500, 250, 30)
    runs.write(handle, [], {f"p{i}": "2" for i in range(250)}, {f"t{i}": "1" for i in range(30)})
    assert tuple(map(sum, zip(*sizes, strict=True))) == (2500, 250, 30)


def test_an_epoch_of_more_than_a_thousand_metrics_arrives_whole(uri: str, spool: Path, tmp_path: Path) -> None:
    with observer(uri, spool, tmp_path) as watch:
        watch.trial_changed(trial(0))
        watch.trial_reported(trial(0), Report(epoch=1, metrics={f"m{i}": float(i) for i in range(1500)}))
    metrics = runs_of(uri)["trial-0000"].data.metrics
    assert sum(f"m{i}" in metrics for i in range(1500)) == 1500


class Flaky:
    """A client whose every request fails while `away`, and of which each seventh is done but not confirmed."""

    def __init__(self, client: Any) -> None:
        self.client, self.away, self.calls = client, True, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.away:
                raise ConnectionError("refused")
            self.calls += 1
            result = method(*args, **kwargs)
            if self.calls % 7 == 0:
                raise ConnectionError("reset by peer")
            return result

        return call


@pytest.fixture
def flaky(uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flaky]:
    client = Flaky(connect(uri))
    monkeypatch.setattr(courier_module, "connect", lambda uri: client)
    yield client
    client.away = True


def test_an_outage_and_lost_confirmations_lose_and_double_nothing(
    uri: str, flaky: Flaky, spool: Path, tmp_path: Path
) -> None:
    said: Said = []
    watch = observer(uri, spool, tmp_path, said)
    for number in range(3):
        run_trial(watch, number, "completed")
    until(lambda: watch._courier is not None and watch._courier._away)
    assert runs_of(uri) == {}
    flaky.away = False
    assert watch.close(seconds=60)
    state = everything(uri)
    assert sorted(state) == [SWEEP, "trial-0000", "trial-0001", "trial-0002"]
    assert {s[1] for s in state.values()} == {"FINISHED"}
    assert [len(state[f"trial-000{i}"][6]["loss"]) for i in range(3)] == [3, 3, 3]
    assert any("cannot be written" in text for text in said) and any("is back" in text for text in said)
    assert len(said) <= 2 * flaky.calls


def test_what_could_not_be_sent_is_sent_by_the_next_start(
    uri: str, flaky: Flaky, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: Said = []
    watch = observer(uri, spool, tmp_path, said)
    table = tmp_path / "trials.parquet"
    table.write_bytes(b"rows")
    run_trial(watch, 0, "completed")
    watch.artifact(table)
    table.unlink()
    assert not watch.close(seconds=0.2)
    assert "the next start sends them" in said[-1] and runs_of(uri) == {}
    monkeypatch.setattr(courier_module, "connect", connect)
    with observer(uri, spool, tmp_path):
        pass
    runs = runs_of(uri)
    assert {r.info.status for r in runs.values()} == {"FINISHED"} and sorted(runs) == [SWEEP, "trial-0000"]
    assert [a.path for a in connect(uri).list_artifacts(runs[SWEEP].info.run_id)] == ["trials.parquet"]
    assert list(spool.iterdir()) == []


def test_an_entry_that_mlflow_refuses_does_not_hold_up_the_rest(uri: str, spool: Path, tmp_path: Path) -> None:
    said: Said = []
    with observer(uri, spool, tmp_path, said) as watch:
        watch.trial_changed(trial(0))
        until(lambda: "trial-0000" in runs_of(uri))
        connect(uri).delete_run(runs_of(uri)["trial-0000"].info.run_id)
        watch.trial_reported(trial(0), Report(epoch=1, metrics={"loss": 1.0}))
        run_trial(watch, 1, "completed")
    assert runs_of(uri)["trial-0001"].info.status == "FINISHED"
    assert any("refused" in text for text in said)


def killed_driver(uri: str, spool: Path, tmp_path: Path, sweep: str, where: str) -> None:
    """A driver that is killed with a trial running, once MLflow has it."""
    code = f"""
        import sys, time
        from pathlib import Path
        from orchestrator.events import TrialRecord
        from orchestrator.tracking import MlflowObserver, SweepInfo
        info = SweepInfo(sweep={sweep!r}, stand_in=True, artifact_location={where!r})
        watch = MlflowObserver(info, uri={uri!r}, spool=Path({str(spool)!r}), every=0.02)
        watch.trial_changed(TrialRecord(number=0, role="search", params={{}}, state="running", started=1000.0))
        while watch._segment.remaining():
            time.sleep(0.02)
        watch.trial_changed(TrialRecord(number=1, role="search", params={{}}, state="running", started=1000.0))
        print("up", flush=True)
        time.sleep(600)
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline().strip() == "up"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def foreign(uri: str, name: str, tags: dict[str, str]) -> None:
    client = connect(uri)
    client.create_run("0", tags=tags, run_name=name)


def test_runs_of_a_killed_driver_are_closed_and_no_others(uri: str, spool: Path, tmp_path: Path) -> None:
    killed_driver(uri, spool, tmp_path, "other-cd34", str(tmp_path / "a"))
    foreign(uri, "somebody", {})
    foreign(uri, "elsewhere", {"orch.sweep": "x", "orch.owner": '{"host":"far","pid":1,"boot":"b","started":"1"}'})
    statuses = {n: r.info.status for n, r in runs_of(uri).items()}
    assert statuses["other-cd34"] == "RUNNING"
    watch = observer(uri, spool, tmp_path)
    until(lambda: SWEEP in runs_of(uri))
    closed = {n: r.info.status for n, r in runs_of(uri).items()}
    assert closed == {
        "other-cd34": "KILLED",
        "trial-0000": "KILLED",
        "trial-0001": "KILLED",
        "somebody": "RUNNING",
        "elsewhere": "RUNNING",
        SWEEP: "RUNNING",
    }
    lost = runs_of(uri)["trial-0001"].data.tags
    assert lost["orch.stop_reason"] == "driver lost" and lost["orch.sweep"] == "other-cd34"
    assert reconcile(uri) == [], "a live driver's runs were closed"
    assert watch.close()


def test_reconcile_spares_what_goes_on(uri: str) -> None:
    far = '{"host":"far","pid":1,"boot":"b","started":"1"}'
    for name in ("trial-0000", "trial-0001"):
        foreign(uri, name, {"orch.sweep": SWEEP, "orch.kind": "trial", "orch.owner": far})
    foreign(uri, SWEEP, {"orch.sweep": SWEEP, "orch.kind": "sweep", "orch.owner": far})
    assert reconcile(uri) == []
    assert reconcile(uri, SWEEP, alive={"trial-0001"}, reopens=True) == [f"{SWEEP}/trial-0000"]
    assert sorted(reconcile(uri, SWEEP)) == [f"{SWEEP}/{SWEEP}", f"{SWEEP}/trial-0001"]


def test_ping_says_what_answers(uri: str) -> None:
    assert "1 experiments" in ping(uri)


def test_a_spool_for_another_store_stays(uri: str, spool: Path, tmp_path: Path) -> None:
    segment = Segment.create(spool, "s")
    segment.append({"kind": "sweep", "store": store_key("http://other")})
    segment.release()
    with observer(uri, spool, tmp_path):
        pass
    assert [p.name for p in spool.iterdir()] == [segment.path.name]
