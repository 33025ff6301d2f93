"""What a sweep says of itself to MLflow, and who is writing it: plain data that a spool can hold."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

RunKind = Literal["sweep", "trial", "model"]

SWEEP, TRIAL, MODEL, KIND, ROLE = "orch.sweep", "orch.trial", "orch.model", "orch.kind", "orch.role"
STATE, REASON, STOP_REASON, OWNER = "orch.state", "orch.reason", "orch.stop_reason", "orch.owner"
STAND_IN, NON_FINITE = "orch.stand_in", "orch.non_finite"
SINCE, EPOCHS, MODELS, FILE = "orch.since", "orch.epochs", "orch.models", "orch.file."
"""When the driver that last wrote a sweep began, in milliseconds; how many epochs of an ended trial have all been
sent; of which models a row is; and, with its path behind it, the checksum of an artifact."""
SUPERSEDED = "superseded"
"""The state of a row's run since another model took the row's place."""
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
