"""What the making of any transfer set has in common, without loading torch: shards are the unit of resuming."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from trainables import transfer_set
from trainables.artifacts import Record, StoredFile, verified
from trainables.errors import ArtifactError

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

    def receipt(self, index: int) -> str:
        """The key of what says what the shard is: until there is a record, nothing else does."""
        return self.key(index).removesuffix(".parquet") + ".json"

    def store(self, index: int, local: Path) -> str:
        """Keep the shard that lies in a local file; returns its key."""
        file = StoredFile.of(local)
        self.storage.upload(local, self.key(index))
        self.storage.write_text(self.receipt(index), file.model_dump_json())
        return self.key(index)

    def pending(self) -> list[int]:
        """The shards that are still to be made; one is made when it and its receipt are in the store."""
        there = {info.key for info in self.storage.list(self.prefix)}
        made = ({self.key(index), self.receipt(index)} <= there for index in range(len(self.shard_keys())))
        return [index for index, whole in enumerate(made) if not whole]


@dataclass
class Totals:
    """Over all shards of a plan."""

    counts: dict[str, int] = field(default_factory=dict)
    """Rows of each split."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Steps of every column of sequences, end to end."""
    sums: list[dict[str, Any]] = field(default_factory=list)
    """What each shard's file carries."""
    files: dict[str, StoredFile] = field(default_factory=dict)
    """The shards, for the record."""


def totals(plan: ShardPlan) -> Totals:
    """Of a plan of which no shard is pending.

    Raises ArtifactError naming a shard that is no longer what was stored; it is removed, and so is pending again.
    """
    import pyarrow.parquet as pq

    found = Totals()
    for index in range(len(plan.shard_keys())):
        with _checked(plan, index, found.files) as path, pq.ParquetFile(path) as file:
            splits, sums = file.read(["split"])["split"].to_pylist(), json.loads(file.metadata.metadata[SUMS])
        _add(found.counts, {split: splits.count(split) for split in dict.fromkeys(splits)})
        _add(found.lengths, sums["lengths"])
        found.sums.append(sums)
    return found


@contextmanager
def _checked(plan: ShardPlan, index: int, files: dict[str, StoredFile]) -> Iterator[Path]:
    """A local file of the shard, which is added to `files`."""
    name = transfer_set.shard_name(index)
    try:
        files[name] = StoredFile.model_validate_json(plan.storage.read_bytes(plan.receipt(index)))
        with verified(plan.storage, plan.prefix, name, files) as path:
            yield path
    except (ArtifactError, ValidationError) as error:
        for key in (plan.receipt(index), plan.key(index)):
            plan.storage.remove(key)
        url = plan.storage.url(plan.key(index))
        raise ArtifactError(
            f"{url}: damaged since it was stored, and so removed; run the same command again, which makes it anew"
        ) from error


def _add(total: dict[str, int], part: Mapping[str, int]) -> None:
    for name, number in part.items():
        total[name] = total.get(name, 0) + number
