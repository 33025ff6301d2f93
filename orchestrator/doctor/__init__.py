"""What is configured and reachable on this machine, each with the way to mend it.

Loads no torch, and Ray only to join a cluster that is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.doctor.finding import Finding
from orchestrator.doctor.packages import interpreter, requirements
from orchestrator.doctor.places import corpora, gpu, speech, strangers
from orchestrator.doctor.servers import mlflow, ray, storage
from orchestrator.doctor.teachers import checkpoints
from orchestrator.settings import Settings

CHECKS: tuple[Callable[[Settings], list[Finding]], ...] = (
    interpreter,
    requirements,
    strangers,
    storage,
    mlflow,
    ray,
    gpu,
    corpora,
    speech,
    checkpoints,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as soon as it is there."""
    for check in CHECKS:
        yield from check(settings)


__all__ = ["CHECKS", "Finding", "examine"]
