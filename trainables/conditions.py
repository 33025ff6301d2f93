"""Where a confirmed model lies, the conditions under which it is tried and the identity of what comes of it, all
without torch."""

from __future__ import annotations

from collections.abc import Sequence

from trainables.artifacts import fingerprint
from trainables.spec.base import Modality
from trainables.spec.method import subsets
from trainables.spec.robustness import Condition

SCHEMA_VERSION = 1


def model_prefix(model: str) -> str:
    return f"models/{model}"


def prefix(identity: str) -> str:
    return f"robustness/{identity}"


def missing(modalities: Sequence[Modality]) -> dict[str, tuple[Modality, ...]]:
    """What is kept under each condition in which something misses: every proper part that is not empty."""
    return {f"only-{'+'.join(part)}": part for part in subsets(modalities, "every")[1:]}


def condition_names(modalities: Sequence[Modality], conditions: Sequence[Condition]) -> tuple[str, ...]:
    """All conditions of a student of these modalities: those that harm one of them, behind what may miss."""
    return (*missing(modalities), *(c.name for c in conditions if c.modality in modalities))


def robustness_fingerprint(model: str, damaged: str | None, names: Sequence[str]) -> str:
    """The identity of one model's evaluation, of a damaged transfer set and of `condition_names`."""
    return fingerprint("robustness", SCHEMA_VERSION, {"conditions": list(names)}, reads(model, damaged))


def reads(model: str, damaged: str | None) -> dict[str, str]:
    """What an evaluation reads, by role."""
    return {"model": model} if damaged is None else {"model": model, "damaged": damaged}
