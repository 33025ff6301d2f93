"""What is said of an MLflow server that cannot be used, over real HTTP, and that no password is in what is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.errors import SettingsError
from orchestrator.events import Observer
from orchestrator.resending import resend
from orchestrator.tracking import ping
from orchestrator.tracking.client import connect
from orchestrator.tracking.faults import lasting, permanent, scrubbed
from tests.helpers.services.proxy import FaultProxy
from tests.helpers.tracked import Tracked
from trainables.errors import MachineError

HOST = b"Invalid Host header - possible DNS rebinding attack detected"
SECRET = "plantedsecret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A server that only answers what a test orders."""
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "")  # so that it is put back, whoever sets it meanwhile
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with FaultProxy("http://127.0.0.1:9") as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("code", "body", "says"),
    [
        (403, HOST, r"refuses the host name '127.0.0.1:\d+'; start it with .* --allowed-hosts, .*_ALLOWED_HOSTS"),
        (401, b"You are not authenticated.", "asks for a login; set MLFLOW_TRACKING_USERNAME and .*PASSWORD, or"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "the login has no right"),
        (404, b"<html>nginx</html>", "no MLflow server; mend MLFLOW_TRACKING_URI"),
        (503, b"busy", "the server answers 503; start it or set MLFLOW_TRACKING_URI"),
        (500, b"oh", "the server answers 500"),
        (502, b"<html>bad gateway</html>", "the server answers 502"),
    ],
)
def test_each_refusal_has_its_own_sentence(server: FaultProxy, code: int, body: bytes, says: str) -> None:
    server.fault("status", code=code, body=body)
    with pytest.raises(SettingsError, match=says) as raised:
        ping(server.endpoint)
    assert str(raised.value).startswith(f"MLflow at {server.endpoint} cannot be used: ")
    assert len(server.requests) == 1, "a request was repeated by MLflow itself"


def test_a_server_that_is_not_there_or_never_answers(server: FaultProxy) -> None:
    with pytest.raises(SettingsError, match="nothing listens there"):
        ping("http://127.0.0.1:9")
    server.fault("hang")
    with pytest.raises(SettingsError, match="no answer in time"):
        ping(server.endpoint)


def test_a_login_that_was_given_is_said_to_be_refused(server: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    server.fault("status", code=401, body=b"no")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", SECRET)
    with pytest.raises(SettingsError, match="the login is refused; mend MLFLOW_TRACKING_USERNAME"):
        ping(server.endpoint)


@pytest.mark.parametrize(
    ("code", "hopeless", "refused"),
    [(401, True, False), (403, True, False), (413, False, True), (503, False, False), (500, False, False)],
)
def test_what_is_tried_again(server: FaultProxy, tmp_path: Path, code: int, hopeless: bool, refused: bool) -> None:
    """An upload that is too large for a proxy in between is never taken; a login may be mended meanwhile."""
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    server.fault("status", code=code, body=b"no")
    connect(server.endpoint)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(Exception, match=str(code)) as raised:
        MlflowArtifactsRepository("mlflow-artifacts:/0/a", server.endpoint).log_artifact(str(tmp_path / "a.txt"))
    assert (lasting(raised.value), permanent(raised.value)) == (hopeless, refused)


def test_sync_gives_up_at_once_on_what_only_a_person_mends_and_later_on_the_rest(
    server: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.again.PATIENCE", 0.2)
    tracked = Tracked.at(str(tmp_path / "store"), server.endpoint, tmp_path / "cache")
    tracked.run([0], Observer())
    server.fault("status", code=403, body=HOST)
    with pytest.raises(SettingsError, match="--allowed-hosts"):
        resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: None)
    assert len(server.requests) == 1
    server.reset()
    server.fault("status", code=503)
    with pytest.raises(MachineError, match=r"503; .*the same command sends the rest"):
        resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: None)
    server.reset()


@pytest.mark.parametrize("code", [401, 500])
def test_no_password_is_in_the_spool_the_storage_or_a_message(
    server: FaultProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Planted in the address, in the environment, and in the reason of a trial that failed."""
    server.fault("status", code=code, body=b"no")
    uri = server.endpoint.replace("://", f"://me:{SECRET}%2F1@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token-" + SECRET)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "key-" + SECRET)
    said: list[str] = []

    class Said(Observer):
        def message(self, text: str, level: str = "info") -> None:
            said.append(text)

    tracked = Tracked.at(str(tmp_path / "store"), uri, tmp_path / "cache")
    recorder = tracked.recorder(Said())
    recorder.stage_started("sweep", "")
    tracked.run([0], recorder)
    trial = tracked.start(1, recorder)
    recorder.trial_changed(trial.model_copy(update={"state": "failed", "reason": f"of {uri} and key-{SECRET}"}))
    recorder.close("FAILED", f"OSError: {uri} token-{SECRET}")
    with pytest.raises(SettingsError if code == 401 else MachineError) as raised:
        monkeypatch.setattr("orchestrator.tracking.again.PATIENCE", 0.2)
        resend(tracked.spec, tracked.settings, stand_in=True, say=lambda text, level: said.append(text))
    with pytest.raises(SettingsError) as pinged:
        ping(uri)
    said += [str(raised.value), str(pinged.value)]
    assert any(server.endpoint in text for text in said)
    spooled = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert any(b"127.0.0.1" in path.read_bytes() for path in spooled), "the planted reason was not spooled"
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []
    assert [text for text in said if SECRET in text] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at http://me:pass@word@host:5000/x failed", "at http://host:5000/x failed"),
        ("postgresql+psycopg2://me:pw@db/orch", "postgresql+psycopg2://db/orch"),
        ("sqlite:////srv/m@b.db", "sqlite:////srv/m@b.db"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_addresses_lose_their_logins(text: str, shown: str) -> None:
    assert scrubbed(text) == shown


def test_a_password_that_changes_leaves_the_spool_to_be_sent() -> None:
    """The store is the same one, whoever logs in."""
    from orchestrator.tracking.spool import store_key

    assert store_key("https://me:old@host/x") == store_key("https://me:new@host/x") == store_key("https://host/x")
    assert store_key("https://host/x") != store_key("https://host/y")
