"""What a trial's process tells the driver through `tune.report`: epochs, then how it ended.

Each message is one JSON text under one key: Tune flattens nested results and adds fields of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel

from orchestrator.events import Report

REPORTS, OUTCOME, GROUP = "orch_reports", "orch_outcome", "orch_group"


class Outcome(BaseModel):
    """The final marker: a trial without one has not ended by itself."""

    state: Literal["completed", "failed"]
    reason: str = ""
    values: dict[str, float] = {}


def reports_message(reports: Sequence[Report]) -> dict[str, Any]:
    return {"epoch": reports[-1].epoch, REPORTS: json.dumps([report.model_dump() for report in reports])}


def outcome_message(outcome: Outcome) -> dict[str, Any]:
    return {OUTCOME: outcome.model_dump_json()}


def group_message(group: str) -> dict[str, Any]:
    """The placement group that a trial of several workers has made."""
    return {GROUP: group}


def reports_of(result: Mapping[str, Any]) -> list[Report]:
    return [Report.model_validate(item) for item in json.loads(result.get(REPORTS, "[]"))]


def outcome_of(result: Mapping[str, Any]) -> Outcome | None:
    return Outcome.model_validate_json(result[OUTCOME]) if OUTCOME in result else None
