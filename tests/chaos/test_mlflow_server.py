"""The tracking server as it is deployed (PostgreSQL, artifacts through its proxy in S3), and what befalls it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import Observer
from orchestrator.recording import Recorder
from orchestrator.resending import Resent, resend
from orchestrator.tracking import ping
from orchestrator.tracking.spool import Segment, waiting
from tests.helpers.mlflow_store import Runs, everything, story
from tests.helpers.services.faults import Kind
from tests.helpers.services.gate import Gate
from tests.helpers.services.mlflow import MlflowServer, mlflow_server
from tests.helpers.services.postgres import Postgres, postgres
from tests.helpers.services.process import listens
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import SECRET, S3Server
from tests.helpers.tracked import Tracked

TRIALS = 5
PASSWORD = "planted/password"
_prefixes = count()


@pytest.fixture(autouse=True)
def _own_environment(no_login: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


@pytest.fixture
def make(tmp_path: Path, student: Path) -> Callable[..., Tracked]:
    """A sweep whose runs are in an experiment of this test's own; made again it is the same sweep."""
    prefix = f"t{next(_prefixes)}-"

    def made(uri: str, cache: str = "cache") -> Tracked:
        return Tracked.at(str(tmp_path / "store"), uri, tmp_path / cache, student, experiment_prefix=prefix)

    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Runs:
    """What any server must show in the end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    uri = f"sqlite:///{folder}/mlflow.db"
    tracked = Tracked.at(str(folder / "store"), uri, folder / "cache", student)
    tracked.whole(TRIALS, tracked.recorder())
    settle(tracked)
    found = story(uri)
    assert len(found) == TRIALS + 7
    return found


@pytest.fixture
def proxy(mlflow: MlflowServer) -> Iterator[FaultProxy]:
    with FaultProxy(mlflow.uri) as found:
        yield found


def sync(tracked: Tracked) -> Resent:
    return resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: None)


def spool(tracked: Tracked) -> Path:
    return tracked.settings.cache / "mlflow-spool"


def shown(server: MlflowServer, tracked: Tracked) -> Runs:
    return story(server.uri, tracked.settings.experiment_prefix)


def until(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def caught_up(tracked: Tracked) -> bool:
    """Whether the server has confirmed all that the live driver told so far."""
    (path,) = spool(tracked).glob("*.jsonl")
    return Segment(path, path.open("rb")).drained()


def away(recorder: Recorder) -> bool:
    """Whether the live driver has noticed that the server fails."""
    assert recorder._open is not None and recorder._open._courier is not None
    return recorder._open._courier._away


def settle(tracked: Tracked) -> None:
    """Until the live driver's thread has sent all; by sync what it gave up, as its end waits for no server long."""
    until(lambda: waiting(spool(tracked)) or not list(spool(tracked).glob("*.jsonl")))
    if waiting(spool(tracked)):
        sync(tracked)


def test_live_and_sent_again_from_the_storage_alone(
    mlflow: MlflowServer, s3: S3Server, pg: Postgres, make: Callable[..., Tracked], undisturbed: Runs
) -> None:
    """The whole database and the whole bucket are the same bytes before and after."""
    tracked = make(mlflow.uri)
    tracked.whole(TRIALS, tracked.recorder())
    settle(tracked)
    assert shown(mlflow, tracked) == undisturbed
    assert any(key.endswith("student.safetensors") for key in s3.objects("mlflow-artifacts"))
    prefix = tracked.settings.experiment_prefix
    for _ in range(2):
        before = everything(mlflow.uri, prefix), database(pg), versions(s3)
        assert len(before[0]["models"]) == 1
        assert sync(make(mlflow.uri, "elsewhere")).refused == []
        assert (everything(mlflow.uri, prefix), database(pg), versions(s3)) == before


def test_from_the_storage_alone_twice(
    *,
    mlflow: MlflowServer,
    proxy: FaultProxy,
    s3: S3Server,
    pg: Postgres,
    make: Callable[..., Tracked],
    undisturbed: Runs,
) -> None:
    tracked = make(mlflow.uri)
    tracked.run(range(TRIALS), Observer())
    tracked.seal()
    assert sync(tracked).finished
    assert shown(mlflow, tracked) == undisturbed
    before = database(pg), versions(s3)
    assert sync(make(proxy.endpoint)).finished
    assert (database(pg), versions(s3)) == before
    asked = [f"{one.method} {one.path.partition('?')[0]}" for one in proxy.requests]
    assert len(asked) < 20, "more than a few requests a sweep"
    assert [one for one in asked if not re.search("^GET|search$", one)] == []


def database(pg: Postgres) -> list[bytes]:
    """Its dump without the words that pg_dump makes up anew each time."""
    return [line for line in pg.dump().splitlines() if not line.startswith((b"\\restrict", b"\\unrestrict"))]


def versions(s3: S3Server) -> dict[str, tuple[str, object]]:
    """What S3 says of every object's content and time."""
    pages = s3.client().get_paginator("list_objects_v2").paginate(Bucket="mlflow-artifacts")
    found = [one for page in pages for one in page.get("Contents", [])]
    return {one["Key"]: (one["ETag"], one["LastModified"]) for one in found}


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        ("status", {"code": 503, "times": 4}),
        ("status", {"code": 500, "times": 4, "match": "^(POST|PUT)"}),
        ("cut", {"times": 4, "match": "runs/create"}),
        ("cut", {"times": 5, "match": "^(POST|PUT|PATCH)"}),
        ("reset", {"times": 4}),
        ("slow", {"rate": 20_000, "seconds": 20}),
        ("refuse", {"seconds": 5}),
    ],
)
def test_an_outage_in_the_middle_loses_and_doubles_nothing(
    *,
    mlflow: MlflowServer,
    proxy: FaultProxy,
    make: Callable[..., Tracked],
    undisturbed: Runs,
    kind: Kind,
    order: dict[str, Any],
) -> None:
    tracked = make(proxy.endpoint)
    recorder = tracked.recorder()
    recorder.stage_skipped("prepare", "its output exists")
    recorder.stage_started("sweep", "")
    tracked.run([0], recorder)
    until(lambda: caught_up(tracked))
    proxy.fault(kind, **order)
    tracked.run(range(1, TRIALS), recorder)
    until(lambda: caught_up(tracked))
    if order.get("times"):
        proxy.fault(kind, **order)  # and when artifacts and models are sent
    recorder.stage_finished("sweep", 12.34567, "all")
    tracked.conclude(recorder)
    settle(tracked)
    assert shown(mlflow, tracked) == undisturbed


def test_a_server_that_hangs_holds_up_nobody(
    mlflow: MlflowServer,
    proxy: FaultProxy,
    make: Callable[..., Tracked],
    undisturbed: Runs,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    tracked = make(proxy.endpoint)
    recorder = tracked.recorder()
    proxy.fault("hang", times=3)
    recorder.stage_skipped("prepare", "its output exists")
    recorder.stage_started("sweep", "")
    tracked.run(range(TRIALS), recorder)
    recorder.stage_finished("sweep", 12.34567, "all")
    assert not caught_up(tracked), "the driver waited for the server"
    until(lambda: caught_up(tracked))
    tracked.conclude(recorder)
    settle(tracked)
    assert shown(mlflow, tracked) == undisturbed


@pytest.mark.parametrize("mends", ["sync", "the next start"])
def test_a_server_down_from_before_until_after(
    mlflow: MlflowServer, proxy: FaultProxy, make: Callable[..., Tracked], undisturbed: Runs, mends: str
) -> None:
    proxy.fault("refuse")
    said: list[str] = []

    class Said(Observer):
        def message(self, text: str, level: str = "info") -> None:
            said.append(text)

    tracked = make(proxy.endpoint)
    tracked.whole(TRIALS, tracked.recorder(Said()))
    assert waiting(spool(tracked)) and proxy.requests == []
    assert any("nothing listens there" in text for text in said)
    assert any("the next start sends them" in text for text in said)
    proxy.clear()
    until(lambda: listens(proxy.host, proxy.port))
    if mends == "sync":
        sync(tracked)
    else:
        recorder = tracked.recorder()  # every stage is skipped
        recorder.stored_trials(tracked.journal.read())
        key, summary = tracked.seal()
        for row in summary.leaderboard:
            recorder.model_confirmed(row)
        recorder.finished(summary, key)
    settle(tracked)
    assert shown(mlflow, tracked) == undisturbed


def test_a_server_its_database_and_its_storage_die_and_come_back(
    tmp_path: Path, s3: S3Server, make: Callable[..., Tracked], undisturbed: Runs
) -> None:
    """The first two between trials, S3 while it is given the artifacts."""
    artifacts = s3.make_bucket(f"mlflow-{tmp_path.name[-20:].replace('_', '-').lower().strip('-')}")
    with (
        postgres(tmp_path) as own,
        FaultProxy(s3.endpoint) as behind,
        mlflow_server(tmp_path, own.make_database("killed"), artifacts, s3.through(behind.endpoint)) as server,
    ):
        tracked = make(server.uri)
        recorder = tracked.recorder()
        recorder.stage_skipped("prepare", "its output exists")
        recorder.stage_started("sweep", "")
        tracked.run([0, 1], recorder)
        until(lambda: caught_up(tracked))
        server.kill()
        tracked.run([2, 3], recorder)
        until(lambda: away(recorder))
        server.start()
        until(lambda: caught_up(tracked))
        own.stop()
        tracked.run([4], recorder)
        until(lambda: away(recorder))
        own.start()
        recorder.stage_finished("sweep", 12.34567, "all")
        until(lambda: caught_up(tracked))
        behind.fault("status", code=503, times=10, match="^PUT")
        tracked.conclude(recorder)
        settle(tracked)
        assert shown(server, tracked) == undisturbed


def test_a_model_arrives_over_a_line_that_breaks_again_and_again(
    proxy: FaultProxy, make: Callable[..., Tracked]
) -> None:
    """Each break costs the file that it hits, not the hundreds before it."""
    tracked = make(proxy.endpoint)
    tracked.run([0], Observer())
    tracked.seal()
    lost = ["metrics.py", "losses/distillation.py", "student.safetensors", "teachers/__init__.py"]
    for name in lost:
        proxy.fault("reset", times=1, match=f"^PUT .*/{name}")
    assert sync(tracked).finished
    puts = [one for one in proxy.requests if one.method == "PUT" and "/models/" in one.path]
    sent = {one.path for one in puts if one.status == 200}
    assert len(puts) == len(sent) + len(lost) and len(sent) > 200


def test_a_server_that_refuses_its_host_name_says_what_to_give_it(tmp_path: Path) -> None:
    options = ["--allowed-hosts", "mlflow.example.com"]
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with mlflow_server(tmp_path, store, str(tmp_path / "artifacts"), options=options) as server:
        host = server.uri.removeprefix("http://")
        with pytest.raises(SettingsError, match=f"refuses the host name '{host}'; .*--allowed-hosts"):
            ping(server.uri)


@pytest.fixture
def guarded(mlflow: MlflowServer) -> Iterator[Gate]:
    with Gate(mlflow.uri, "me", PASSWORD) as found:
        yield found


@pytest.mark.parametrize("how", ["address", "environment"])
def test_a_login_is_used_and_kept_nowhere(
    *,
    mlflow: MlflowServer,
    s3: S3Server,
    pg: Postgres,
    guarded: Gate,
    make: Callable[..., Tracked],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    with pytest.raises(SettingsError, match="asks for a login; set MLFLOW_TRACKING_USERNAME"):
        ping(guarded.endpoint)
    uri = guarded.endpoint
    if how == "address":
        uri = uri.replace("://", f"://me:{PASSWORD.replace('/', '%2F')}@")
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    said: list[str] = [ping(uri)]

    class Said(Observer):
        def message(self, text: str, level: str = "info") -> None:
            said.append(text)

    tracked = make(uri)
    tracked.whole(TRIALS, tracked.recorder(Said()))
    settle(tracked)
    said.append(str(sync(tracked)))
    assert guarded.passed > 50
    needles = [form.encode() for form in (PASSWORD, PASSWORD.replace("/", "%2F"), guarded.login, SECRET)]
    found = [text.encode() for text in said] + [pg.dump()]
    found += [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    client = s3.client()
    keys = s3.objects("mlflow-artifacts")
    found += [client.get_object(Bucket="mlflow-artifacts", Key=key)["Body"].read() for key in keys]
    assert len(found) > 50
    assert [needle for needle in needles for text in found if needle in text] == []
