"""What is configured and reachable on this machine, each with the way to mend it. Loads no torch and no Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.doctor.finding import Finding
from orchestrator.doctor.packages import packages, python
from orchestrator.doctor.places import corpora, gpu, mlflow, ray, speech, storage, strangers
from orchestrator.doctor.teachers import teachers
from orchestrator.settings import Settings

CHECKS: tuple[Callable[[Settings], list[Finding]], ...] = (
    python,
    packages,
    strangers,
    storage,
    mlflow,
    ray,
    gpu,
    corpora,
    speech,
    teachers,
)


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, as soon as it is there."""
    for check in CHECKS:
        yield from check(settings)


__all__ = ["CHECKS", "Finding", "examine"]
