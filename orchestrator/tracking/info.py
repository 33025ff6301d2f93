"""What a sweep says of itself to MLflow, and who is writing it: plain data that a spool can hold."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

RunKind = Literal["sweep", "trial", "model"]

SWEEP, TRIAL, MODEL, KIND, ROLE = "orch.sweep", "orch.trial", "orch.model", "orch.kind", "orch.role"
STATE, REASON, STOP_REASON, OWNER = "orch.state", "orch.reason", "orch.stop_reason", "orch.owner"
STAND_IN, NON_FINITE = "orch.stand_in", "orch.non_finite"
TABLES = "mlflow.loggedArtifacts"
"""Which artifacts the UI shows as tables, as JSON."""
PARENT, NOTE, RUN_NAME = "mlflow.parentRunId", "mlflow.note.content", "mlflow.runName"


class DataInput(BaseModel):
    """A data set that the sweep read; nothing of it is read for MLflow."""

    model_config = ConfigDict(frozen=True)

    name: str
    digest: str
    """Its fingerprint, at most 36 characters."""
    source: str
    """Where it lies: a path or an URL."""


class SweepInfo(BaseModel):
    """The parent run of a sweep."""

    model_config = ConfigDict(frozen=True)

    sweep: str
    """Name of the parent run and value of the tag `orch.sweep`: experiment and fingerprint, `cmd-meld-<fp>`."""
    experiment: str = "orch"
    """The MLflow experiment that holds the runs."""
    claim: str = ""
    stand_in: bool
    tags: dict[str, str] = {}
    """Further tags, by name without `orch.`: corpus, git_commit, the fingerprints read, ..."""
    params: dict[str, Any] = {}
    """Parameters of the parent; nested mappings become dotted paths."""
    inputs: list[DataInput] = []
    objectives: list[tuple[str, Literal["max", "min"]]] = [("weighted_f1", "max")]
    """Name on dev (without `dev/`) and direction; the first that is reported by epoch decides on the best epoch."""
    artifact_location: str | None = None
    """Where MLflow keeps artifacts if it has to create the experiment; None leaves it to the server."""


def run_tag(kind: RunKind) -> str | None:
    return {"trial": TRIAL, "model": MODEL}.get(kind)


def stand_in_line(stand_in: bool) -> str:
    """The sentence that must stand above all numbers."""
    if stand_in:
        return "**STAND-IN CORPUS: these numbers are of speech and faces made by rule, not of any real corpus.**"
    return "Numbers of the real corpus."


class Owner(BaseModel):
    """The process that writes a run, so that another can tell whether it is still there."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    boot: str
    """Identifier of the boot of the host; empty where the system tells none."""
    started: str
    """Start time of the process in the system's own count; a reused pid has another one."""

    @classmethod
    def me(cls) -> Owner:
        return cls(host=socket.gethostname(), pid=os.getpid(), boot=_boot(), started=_started(os.getpid()))

    @classmethod
    def parse(cls, text: str | None) -> Owner | None:
        try:
            return cls.model_validate_json(text or "")
        except ValueError:
            return None

    def gone(self) -> bool:
        """True only where it is certain: this host, and no such process. Another host's are left alone."""
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True
        if not _running(self.pid):
            return True
        return bool(self.started) and _started(self.pid) != self.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Field 22 of /proc/<pid>/stat; the name in field 2 may itself hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie has ended, though its parent has not yet asked for its status.
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as `dotted.path -> text`: null, true and false as in JSON, lists as JSON, text as it is."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value if isinstance(value, str) else json.dumps(value, default=str)
    return flat
