"""A real Prometheus scrapes the nodes of a real sweep: every panel of the dashboard has something to show, and what
is shown is what happened."""

from __future__ import annotations

import os
import secrets
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.events import TrialRecord
from orchestrator.journal import Journal
from tests.helpers.driver import SMALL, Driver, sets
from tests.helpers.services.process import ServiceError
from tests.helpers.services.prometheus import NODE_GPUS, Prometheus, expressions, prometheus
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.ray import RayNodes, ray_nodes
from tests.helpers.services.s3 import SECRET, S3Server
from trainables.storage import Storage

pytest.importorskip("espeakng_loader", reason="the stand-in corpus needs eSpeak NG: pip install 'orch[standin]'")

TRIALS, REFUSED = 4, 3
GAUGE, COUNTER = "\nray_orch_progress_timestamp_seconds{", "\nray_orch_epochs_total{"


@dataclass
class Watched:
    prometheus: Prometheus
    trials: list[TrialRecord]
    sweep: str
    start: float
    end: float
    """When the driver ended."""
    requests: int
    """That the store's proxy saw in all."""
    pages: list[str]
    """Each node's metrics during the sweep, as anybody gets them."""
    later: list[str]
    """The same when the driver had ended."""
    token: str


@pytest.fixture(scope="module")
def watched(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, token = tmp_path_factory.mktemp("metrics"), secrets.token_hex(16)
    store = s3.make_bucket("metrics") + "/store"
    with ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(s3.endpoint))
        aws = s3.through(proxy.endpoint)
        for name, value in aws.items():
            stack.enter_context(pytest.MonkeyPatch.context()).setenv(name, value)
        given = {**aws, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
        nodes = stack.enter_context(ray_nodes(folder, [1, 1], given))
        targets = addresses(nodes)
        shown = stack.enter_context(prometheus(folder / "prometheus", {n: [one] for n, one in targets.items()}))
        yield told(folder, Storage(store), nodes, proxy, shown, open_at=list(targets.values()))


def addresses(nodes: RayNodes) -> dict[str, str]:
    """Where each node's metrics are, by its name."""
    found = nodes.ask("[(n['NodeName'], n['NodeManagerAddress'], n['MetricsExportPort']) for n in ray.nodes()]")
    return {name: f"{host}:{port}" for name, host, port in found}


def pages_of(nodes: Sequence[str]) -> list[str]:
    return [urllib.request.urlopen(f"http://{one}/metrics").read().decode() for one in nodes]


def told(
    folder: Path, storage: Storage, nodes: RayNodes, proxy: FaultProxy, shown: Prometheus, *, open_at: Sequence[str]
) -> Watched:
    """A sweep whose journal the store refuses a few times."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCH_", "MLFLOW_", "RAY_"))}
    environment = {
        **kept,
        **nodes.environment,
        "RAY_ADDRESS": nodes.address,
        "ORCH_STORAGE": storage.root,
        "ORCH_CACHE": str(folder / "cache"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
    }
    arguments = ["sweep", "cmd-meld", "--scale", "laptop", "--trials", str(TRIALS), *sets(SMALL)]
    start = time.time()
    driver = Driver(arguments, environment, folder / "driver.log")
    driver.wait_for("sweep: started")
    proxy.fault("status", times=REFUSED, match="PUT .*/trials/")
    driver.wait_for("confirm: started")
    pages: list[str] = []

    def exported() -> bool:
        """What a process counts leaves it every ten seconds."""
        pages[:] = pages_of(open_at)
        return all(any(name in page for page in pages) for name in (GAUGE, COUNTER))

    nodes.until(exported, "first export", 60)
    assert driver.wait() == 0, driver.text()[-4000:]
    (sweep,) = storage.folders("sweeps")
    trials = Journal(storage.at(f"sweeps/{sweep}")).read()
    end, token = time.time(), nodes.environment["RAY_AUTH_TOKEN"]
    with suppress(ServiceError):
        nodes.until(lambda: not any(GAUGE in page for page in pages_of(open_at)), "end of the gauges", 90)
    return Watched(shown, trials, sweep, start, end, len(proxy.requests), pages, pages_of(open_at), token)


def last(watched: Watched, expression: str) -> dict[tuple[str, ...], float]:
    """The last values that were there, by their labels' values in the order of the labels' names."""
    found = watched.prometheus.at(f"last_over_time({expression}[10m])", watched.end)
    own = ("experiment", "sweep", "state", "stage", "metric", "operation", "outcome", "direction")
    return {tuple(labels[name] for name in own if name in labels): value for labels, value in found}


@pytest.mark.parametrize("panel", expressions())
def test_every_panel_has_something_to_show(watched: Watched, panel: str) -> None:
    expression = expressions()[panel]
    series = watched.prometheus.between(expression, watched.start, watched.end)
    if NODE_GPUS.search(expression) and not series:
        pytest.skip("no GPU here: the expression parses, and no more can be said")
    assert series, expression


def test_trials_are_counted_by_state(watched: Watched) -> None:
    states = [trial.state for trial in watched.trials]
    shown = last(watched, "ray_orch_trials")
    assert len(states) == TRIALS
    assert {key: shown[key] for key in shown if shown[key]} == {
        ("cmd-meld", watched.sweep, state): states.count(state) for state in set(states)
    }


def test_every_epoch_is_counted(watched: Watched) -> None:
    epochs = sum(len(trial.reports) for trial in watched.trials)
    assert last(watched, "ray_orch_epochs_total") == {("cmd-meld", watched.sweep): epochs}
    seconds = last(watched, "ray_orch_trial_seconds_count")
    assert sum(seconds.values()) == TRIALS


def test_the_best_score_is_that_of_the_journal(watched: Watched) -> None:
    searched = [trial.values["weighted_f1"] for trial in watched.trials if trial.role != "control"]
    (best,) = last(watched, "ray_orch_best_score").values()
    assert best == pytest.approx(max(searched))


def test_refused_requests_are_counted_and_no_more_than_there_were(watched: Watched) -> None:
    found = watched.prometheus.at("last_over_time(ray_orch_storage_requests_total[10m])", watched.end)
    counted = sum(value for _, value in found)
    print(f"{counted:.0f} of {watched.requests} requests to the store were counted")
    assert sum(value for labels, value in found if labels["outcome"] == "again") == REFUSED
    assert sum(value for labels, value in found if labels["outcome"] == "failed") == 0
    assert 0 < counted <= watched.requests


def test_no_alert_was_near_firing(watched: Watched) -> None:
    """But for that of the disk, which is this machine's own."""
    alerts = watched.prometheus.between("ALERTS", watched.start, watched.end)
    assert [one for one in alerts if one["alertname"] != "OrchCacheDiskFull"] == []


def test_a_driver_that_has_ended_leaves_no_gauge(watched: Watched) -> None:
    """On which the alerts rely: what it counted stays, what it set goes."""
    for name, stays in ((GAUGE, False), (COUNTER, True)):
        assert any(name in page for page in watched.pages)
        assert any(name in page for page in watched.later) is stays, name


def test_while_the_driver_lives_its_gauges_are_there(watched: Watched) -> None:
    """However long nothing is told: a stage without an epoch is no lost driver."""
    times = range(int(watched.start), int(watched.end), 5)
    there = [bool(watched.prometheus.at("ray_orch_progress_timestamp_seconds", at)) for at in times]
    first = there.index(True)
    print(f"from {5 * first} s after its start to its end, {len(there) - first} looks")
    assert all(there[first:])
    assert len(there) - first > 6


def test_most_of_rays_own_series_are_dropped(watched: Watched) -> None:
    there = watched.prometheus.at("sum(scrape_samples_scraped)", watched.end)[0][1]
    kept = watched.prometheus.at("sum(scrape_samples_post_metric_relabeling)", watched.end)[0][1]
    print(f"{kept:.0f} of {there:.0f} series of two nodes are kept")
    assert kept < there / 2


def test_the_metrics_are_open_and_tell_no_secret(watched: Watched) -> None:
    """They were fetched without a token from a cluster that asks for one: only a network policy protects them."""
    for page in watched.pages:
        assert "ray_node_cpu_utilization" in page
        assert SECRET not in page
        assert watched.token not in page
