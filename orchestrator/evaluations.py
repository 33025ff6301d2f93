"""What tries the confirmed models on missing and damaged input: the identities of all of it, and what is not there.

Nothing here loads what evaluates them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.model_ids import ConfirmedModel
from orchestrator.plan import FoldPlan, Plan, harvest_plan, possible_runs
from trainables.artifacts import RECORD
from trainables.conditions import condition_names, prefix, robustness_fingerprint
from trainables.spec.base import Modality
from trainables.spec.robustness import Condition
from trainables.storage import Storage
from trainables.teachers.damaged_plan import DamagedPlan


@dataclass(frozen=True)
class Evaluation:
    """One confirmed model under all conditions of what it reads."""

    fingerprint: str
    model: str
    transfer_set: str
    damaged: str | None
    """The damaged transfer set; None where nothing that the model reads can be damaged."""
    conditions: tuple[Condition, ...]
    """Of the damaged set, those that bear on the model."""


@dataclass(frozen=True)
class Evaluations:
    """The evaluations of these models (by fingerprint), none where they are not wanted."""

    storage: Storage
    plan: Plan
    models: Mapping[str, ConfirmedModel]

    @cached_property
    def by_model(self) -> dict[str, Evaluation]:
        """By the model's fingerprint; a model of one modality that nothing can harm has none."""
        if not self.plan.spec.confirm.robustness.enabled:
            return {}
        found = (self._of(model) for model in self.models.values())
        return {one.model: one for one in found if one is not None}

    @cached_property
    def missing(self) -> list[Evaluation]:
        return [e for e in self.by_model.values() if not self.storage.exists(f"{prefix(e.fingerprint)}/{RECORD}")]

    @property
    def identities(self) -> dict[str, str]:
        """The evaluation's fingerprint by the model's."""
        return {model: one.fingerprint for model, one in self.by_model.items()}

    def damaged(self) -> list[DamagedPlan]:
        """What the missing evaluations read, fold by fold."""
        wanted = {one.damaged for one in self.missing}
        return [plan for plan in self._damaged.values() if plan.fingerprint in wanted]

    @cached_property
    def _damaged(self) -> dict[str, DamagedPlan]:
        """By the clean transfer set."""
        return dict(self._plans(self.plan.folds))

    def _plans(self, folds: Iterable[FoldPlan]) -> Iterator[tuple[str, DamagedPlan]]:
        read = _read(self.plan)
        for fold in folds:
            clean = harvest_plan(self.storage, fold, self.plan.corpus, self.plan.needs)
            found = DamagedPlan.of(clean, self.plan.spec.confirm.robustness, read)
            if found is not None:
                yield fold.transfer_set, found

    def _of(self, model: ConfirmedModel) -> Evaluation | None:
        modalities, plan = model.run.student.modalities, self._damaged.get(model.transfer_set)
        conditions = tuple(c for c in plan.conditions if c.modality in modalities) if plan is not None else ()
        names = condition_names(modalities, conditions)
        damaged = plan.fingerprint if plan is not None and conditions else None
        identity = robustness_fingerprint(model.fingerprint, damaged, names)
        return Evaluation(identity, model.fingerprint, model.transfer_set, damaged, conditions) if names else None


@dataclass(frozen=True)
class Confirmed:
    """What the stage `confirm` leaves."""

    models: dict[str, list[str]]
    """The fingerprints of every candidate's models, one per seed and fold, by the candidate's name."""
    robustness: dict[str, str]
    """The evaluation's fingerprint by the model's."""


def _read(plan: Plan) -> set[Modality]:
    """What some student that may be confirmed reads."""
    return {modality for run in possible_runs(plan.spec) for modality in run.student.modalities}
