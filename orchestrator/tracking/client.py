"""The door to MLflow: addresses, a client that fails fast, and which of its errors are worth another try."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from orchestrator.errors import SettingsError

_ENVIRONMENT = {
    # Our spool repeats what failed, so one request must not hang for the four minutes of MLflow's own retries.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_PERMANENT = {
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
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
    return MlflowClient(tracking_uri=uri)


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
        raise SettingsError(
            f"MLflow at {shown(uri)} does not answer ({brief(error)}); start it or set MLFLOW_TRACKING_URI"
        ) from error
    return f"{shown(uri)} ({found} experiments)"


def permanent(error: Exception) -> bool:
    """Whether sending the same again must fail again; all else may be the outage of a server."""
    code = getattr(error, "error_code", None)
    if code is not None:
        return str(code) in _PERMANENT
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError)
    return isinstance(error, (LookupError, TypeError, ValueError, AttributeError, ImportError))


def brief(error: BaseException) -> str:
    """The first line of an error, short enough for a terminal."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
