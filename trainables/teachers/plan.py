"""What a harvest is to do and what of it is done, without loading torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from trainables import corpus
from trainables.artifacts import Record
from trainables.spec.base import Modality, in_order
from trainables.spec.needs import Needs
from trainables.spec.run import RunSpec
from trainables.storage import Storage
from trainables.teachers.identity import transfer_fingerprint
from trainables.teachers.shards import ShardPlan
from trainables.transfer_set import StreamKind

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

    @property
    def kinds(self) -> dict[Modality, StreamKind]:
        """Of what a student may read, in the order of MODALITIES; no tokens without the text teacher's pieces."""
        spec = self.run.corpus
        if spec.vectors:
            return dict.fromkeys(in_order(spec.modalities), "vectors")
        own: dict[Modality, StreamKind] = {"audio": "log_mel", "visual": "images"}
        if self.run.teachers.text is not None:
            own["text"] = "tokens"
        return {m: own[m] for m in in_order(own) if m in spec.modalities}

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
