"""What the making of any transfer set has in common, without loading torch: shards are the unit of resuming."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainables import transfer_set
from trainables.artifacts import Record

if TYPE_CHECKING:
    from trainables.storage import Storage

SUMS = b"orch.sums"
"""Under which a shard's file carries its sums as JSON: `lengths`, and of a clean set `moments`."""


class ShardPlan(ABC):
    """One transfer set to be made; it has a shard for each of the corpus's."""

    if TYPE_CHECKING:  # at run time a property here would hide the field that it is of a dataclass

        @property
        def storage(self) -> Storage: ...

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Of the transfer set."""

    @abstractmethod
    def shard_keys(self) -> list[str]:
        """The corpus's shards; shard i of the transfer set is made of the i-th."""

    @abstractmethod
    def worker(self, device: str) -> Any:
        """What makes one shard after another by `shard(index)`, its teachers loaded."""

    @abstractmethod
    def finish(self, seconds: float) -> Record:
        """Make the transfer set visible once every shard is there; returns its record. Idempotent."""

    @property
    def prefix(self) -> str:
        return transfer_set.prefix(self.fingerprint)

    def key(self, index: int) -> str:
        return f"{self.prefix}/{transfer_set.shard_name(index)}"

    def pending(self) -> list[int]:
        """The shards that are still to be made; one appears in the store only when it is whole."""
        there = {info.key for info in self.storage.list(self.prefix)}
        return [index for index in range(len(self.shard_keys())) if self.key(index) not in there]


@dataclass
class Totals:
    """Over all shards of a plan."""

    counts: dict[str, int] = field(default_factory=dict)
    """Rows of each split."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Steps of every column of sequences, end to end."""
    sums: list[dict[str, Any]] = field(default_factory=list)
    """What each shard's file carries."""


def totals(plan: ShardPlan) -> Totals:
    """Of a plan of which no shard is pending."""
    import pyarrow.parquet as pq

    found = Totals()
    for index in range(len(plan.shard_keys())):
        with plan.storage.open(plan.key(index)) as handle:
            file = pq.ParquetFile(handle)
            splits, sums = file.read(["split"])["split"].to_pylist(), json.loads(file.metadata.metadata[SUMS])
        _add(found.counts, {split: splits.count(split) for split in dict.fromkeys(splits)})
        _add(found.lengths, sums["lengths"])
        found.sums.append(sums)
    return found


def _add(total: dict[str, int], part: Mapping[str, int]) -> None:
    for name, number in part.items():
        total[name] = total.get(name, 0) + number
