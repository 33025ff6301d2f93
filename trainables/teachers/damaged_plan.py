"""What the damaged test splits of a transfer set are, without loading torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables.artifacts import Record, fingerprint
from trainables.spec.base import MODALITIES, Modality
from trainables.spec.robustness import Condition, RobustnessSpec
from trainables.storage import Storage
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.shards import ShardPlan

if TYPE_CHECKING:
    from trainables.teachers.damaged import Damager

DAMAGED_SCHEMA = 1


@dataclass(frozen=True)
class DamagedPlan(ShardPlan):
    """One transfer set whose splits are the conditions' names, each of them the test split of `clean`, damaged.

    `clean` must be finished before its shards are damaged.
    """

    clean: HarvestPlan
    conditions: tuple[Condition, ...]
    """At least one, of modalities of the corpus."""
    robustness: RobustnessSpec
    """Its seed and the voices of the babble."""

    @classmethod
    def of(
        cls, clean: HarvestPlan, robustness: RobustnessSpec, read: Collection[Modality] = MODALITIES
    ) -> DamagedPlan | None:
        """With every condition that the corpus can be brought into and that harms a modality which is `read`; None
        where there is none."""
        corpus = clean.run.corpus
        harmed = [modality for modality in corpus.modalities if modality in read]
        conditions = robustness.conditions(harmed, vectors=corpus.vectors) if robustness.enabled else ()
        return cls(clean, conditions, robustness) if conditions else None

    @property
    def storage(self) -> Storage:
        return self.clean.storage

    @property
    def taught(self) -> bool:
        """Whether a student reads the teachers' sequences, so that they are asked again about what is damaged."""
        return self.clean.needs.frames

    @cached_property
    def fingerprint(self) -> str:
        babble = any(condition.damage == "babble" for condition in self.conditions)
        content = {
            "conditions": [condition.model_dump(mode="json") for condition in self.conditions],
            "seed": self.robustness.seed,
            "voices": self.robustness.voices if babble else None,
            "taught": self.taught,
        }
        reads = {"corpus": self.clean.corpus, "transfer_set": self.clean.fingerprint}
        return fingerprint("damaged", DAMAGED_SCHEMA, content, reads)

    def shard_keys(self) -> list[str]:
        """The corpus's shards; shard i of the damaged set holds the test rows of the i-th under every condition."""
        return self.clean.shard_keys()

    def worker(self, device: str) -> Damager:
        """What makes one shard after another, its teachers loaded."""
        from trainables.teachers.damaged import Damager

        return Damager(self, device)

    def finish(self, seconds: float) -> Record:
        from trainables.teachers.damaged import finish_damaged

        return finish_damaged(self, seconds)
