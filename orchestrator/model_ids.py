"""The identities of the models that a confirmation needs, without loading what trains them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.leaderboard import Candidate
from trainables.artifacts import fingerprint
from trainables.spec import RunSpec

SCHEMA_VERSION = 1


def model_fingerprint(run: RunSpec, transfer_set: str, mc_passes: int) -> str:
    """Identity of a confirmed model: the run but for what its transfer set already stands for."""
    content = run.model_dump(mode="json", exclude={"corpus", "teachers", "features"})
    return fingerprint("model", SCHEMA_VERSION, {**content, "mc_passes": mc_passes}, {"transfer_set": transfer_set})


@dataclass(frozen=True)
class ConfirmedModel:
    """One configuration, one seed, one fold."""

    fingerprint: str
    run: RunSpec
    transfer_set: str


def confirmed_models(
    candidates: Sequence[Candidate], seeds: int, transfer_sets: Mapping[int | None, str], mc_passes: int
) -> tuple[dict[str, ConfirmedModel], dict[str, list[str]]]:
    """(model by fingerprint, fingerprints by candidate name), seed by seed and within a seed fold by fold.

    `transfer_sets` go by fold. Equal configurations share their models.
    """
    jobs: dict[str, ConfirmedModel] = {}
    by_name: dict[str, list[str]] = {}
    for candidate in candidates:
        models = [
            ConfirmedModel(model_fingerprint(run, transfer_set, mc_passes), run, transfer_set)
            for seeded in candidate.runs(seeds)
            for fold, transfer_set in transfer_sets.items()
            for run in (seeded.model_copy(update={"fold": fold}),)
        ]
        jobs.update({model.fingerprint: model for model in models})
        by_name[candidate.name] = [model.fingerprint for model in models]
    return jobs, by_name
