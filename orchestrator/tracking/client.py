"""The door to MLflow: addresses, and a client that fails fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from orchestrator.errors import SettingsError
from orchestrator.tracking.faults import told

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_LONGEST = 320
_ENVIRONMENT = {
    # Whoever sends repeats what failed, after a look at what has arrived: MLflow's own repetitions would make a run
    # twice whose first making was not confirmed, and hang for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    _TIMEOUT: "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def connect(uri: str) -> Any:
    """An `MlflowClient` on the store; imports MLflow (about a second), and makes the folder of an SQLite file."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    path = sqlite_path(uri)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    import logging

    from mlflow.tracking import MlflowClient

    # A new SQLite file reports each of its fifty migrations otherwise.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=_without_login(uri))


def wait_longer() -> None:
    """Let a request take twice the seconds: a server that is only slow would never confirm one otherwise."""
    os.environ[_TIMEOUT] = str(min(_LONGEST, 2 * int(os.environ.get(_TIMEOUT, "20"))))


def answers(client: Any) -> bool:
    """Whether the store does anything at all."""
    try:
        client.search_experiments(max_results=1)
    except Exception:
        return False
    return True


def default_uri(storage: Path) -> str:
    """The store beside the artifacts in a local storage root."""
    return f"sqlite:///{storage.resolve()}/mlflow.db"


def artifact_location(uri: str) -> str | None:
    """Where artifacts go when we create the experiment: beside an SQLite file; a server decides for itself."""
    path = sqlite_path(uri)
    return str(path.parent / "mlflow-artifacts") if path is not None else None


def sqlite_path(uri: str) -> Path | None:
    """The file of an SQLite store, absolute; None for any other store or one in memory."""
    scheme, _, rest = uri.partition(":///")
    if scheme != "sqlite" or not rest or rest.startswith(":memory:"):
        return None
    return Path(rest.partition("?")[0]).absolute()


def is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def shown(uri: str) -> str:
    """The address without user and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def ui_address(uri: str) -> str | None:
    """Where the UI of a tracking server already is; None where `ui_command` must start one."""
    return shown(uri) if is_server(uri) else None


def ui_command(uri: str, port: int = 5000) -> list[str]:
    """The command that shows a local store at http://127.0.0.1:<port>; a server has its UI already."""
    if is_server(uri):
        raise SettingsError(f"{shown(uri)} is a tracking server: open that address in a browser")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    location = artifact_location(uri)
    if location is not None:
        command += ["--default-artifact-root", location]
    return [*command, "--host", "127.0.0.1", "--port", str(port)]


def ping(uri: str) -> str:
    """One line on a store that answers; SettingsError with the way out on one that does not."""
    path = sqlite_path(uri)
    if path is not None and not path.exists():
        parent = next(p for p in path.parents if p.exists())
        if not os.access(parent, os.W_OK):
            raise SettingsError(f"MLflow: {parent} cannot be written; set MLFLOW_TRACKING_URI")
        return f"{shown(uri)} (will be created)"
    try:
        found = len(connect(uri).search_experiments(max_results=1000))
    except Exception as error:
        raise SettingsError(unusable(error, uri)) from error
    return f"{shown(uri)} ({found} experiments)"


def unusable(error: BaseException, uri: str) -> str:
    """A sentence on a store that cannot be used, with the way out."""
    why = told(error, uri)
    way = "" if "MLFLOW_" in why else "; start it or set MLFLOW_TRACKING_URI"
    return f"MLflow at {shown(uri)} cannot be used: {why}{way}"


def _without_login(uri: str) -> str:
    """The address of a server, its user and password given to MLflow by the environment instead: MLflow writes the
    address into its errors."""
    parts = urlsplit(uri)
    if not is_server(uri) or not (parts.username and parts.password):
        return uri
    os.environ["MLFLOW_TRACKING_USERNAME"] = unquote(parts.username)
    os.environ["MLFLOW_TRACKING_PASSWORD"] = unquote(parts.password)
    return shown(uri)


__all__ = [
    "answers",
    "artifact_location",
    "connect",
    "default_uri",
    "is_server",
    "ping",
    "shown",
    "sqlite_path",
    "ui_address",
    "ui_command",
    "unusable",
    "wait_longer",
]
