"""The identities of the models that a confirmation needs, without loading what trains them."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.leaderboard import Candidate
from trainables.artifacts import fingerprint
from trainables.spec import RunSpec

SCHEMA_VERSION = 1


def model_fingerprint(run: RunSpec, transfer_set: str, mc_passes: int) -> str:
    """Identity of a confirmed model: the run but for what its transfer set already stands for."""
    content = run.model_dump(mode="json", exclude={"corpus", "teachers", "features"})
    return fingerprint("model", SCHEMA_VERSION, {**content, "mc_passes": mc_passes}, {"transfer_set": transfer_set})


def confirmed_models(
    candidates: Sequence[Candidate], seeds: int, transfer_set: str, mc_passes: int
) -> tuple[dict[str, RunSpec], dict[str, list[str]]]:
    """(run by model fingerprint, fingerprints by candidate name); equal configurations share their models."""
    jobs: dict[str, RunSpec] = {}
    by_name: dict[str, list[str]] = {}
    for candidate in candidates:
        runs = {model_fingerprint(run, transfer_set, mc_passes): run for run in candidate.runs(seeds)}
        jobs.update(runs)
        by_name[candidate.name] = list(runs)
    return jobs, by_name
