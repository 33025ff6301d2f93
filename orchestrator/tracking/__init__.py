"""MLflow, the window on what is stored as Parquet: the only package that imports it, and only when first used."""

from __future__ import annotations

from orchestrator.tracking.again import StoredModel, StoredSweep, send_again
from orchestrator.tracking.client import artifact_location, default_uri, ping, ui_address, ui_command
from orchestrator.tracking.info import DataInput, SweepInfo
from orchestrator.tracking.observer import MlflowObserver
from orchestrator.tracking.reconcile import reconcile
from orchestrator.tracking.spool import waiting

__all__ = [
    "DataInput",
    "MlflowObserver",
    "StoredModel",
    "StoredSweep",
    "SweepInfo",
    "artifact_location",
    "default_uri",
    "ping",
    "reconcile",
    "send_again",
    "ui_address",
    "ui_command",
    "waiting",
]
