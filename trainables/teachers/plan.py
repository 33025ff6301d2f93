"""What a harvest is to do and what of it is done, without loading torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables import corpus
from trainables.artifacts import Record
from trainables.spec.needs import Needs
from trainables.spec.run import RunSpec
from trainables.storage import Storage
from trainables.teachers.identity import transfer_fingerprint
from trainables.teachers.shards import ShardPlan

if TYPE_CHECKING:
    from trainables.teachers.harvest import Harvester


@dataclass(frozen=True)
class HarvestPlan(ShardPlan):
    """One transfer set to be made. `corpus` and `teachers` (by name) are fingerprints of published artifacts."""

    storage: Storage
    run: RunSpec
    corpus: str
    teachers: Mapping[str, str]
    needs: Needs

    @cached_property
    def fingerprint(self) -> str:
        return transfer_fingerprint(self.run, self.teachers, self.needs, self.corpus)

    def shard_keys(self) -> list[str]:
        """The corpus's shards; shard i of the transfer set holds the rows of the i-th."""
        return corpus.shards(self.storage, self.corpus)

    def worker(self, device: str) -> Harvester:
        """What makes one shard after another, its teachers loaded."""
        from trainables.teachers.harvest import Harvester

        return Harvester(self, device)

    def finish(self, seconds: float) -> Record:
        from trainables.teachers.finish import finish

        return finish(self, seconds)
