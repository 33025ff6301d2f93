"""Damaged test splits: the rows of a clean transfer set, with the one stream made anew that a condition harms.

Vocabulary, normalisation and teachers are those of the clean set, fitted on train as it is. Where the student reads
the teachers' sequences, the teacher of the harmed modality runs again. Segments keep their times: no harm moves
anything in time.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trainables.artifacts import Record, publish, read_record, verified
from trainables.corpus import read_shard, with_fold
from trainables.corruption.rows import Damages
from trainables.errors import ArtifactError
from trainables.spec.needs import Needs
from trainables.spec.robustness import Condition
from trainables.teachers.damaged_plan import DamagedPlan
from trainables.teachers.harvest import Harvester
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.shards import SUMS, totals
from trainables.transfer_set import flat, list_column, shard_name, step_shape, stream_column

if TYPE_CHECKING:
    import pyarrow as pa


class Damager:
    """What the conditions of a plan need, loaded once; an actor keeps one and gives it shard after shard."""

    def __init__(self, plan: DamagedPlan, device: str | torch.device = "cpu") -> None:
        self.plan = plan
        self.clean = _clean_record(plan)
        self.info = self.clean.info
        self.harvester = Harvester(_needed(plan), device)
        run = plan.clean.run
        self.damages = Damages.read(
            plan.storage, plan.clean.corpus, run.fold, conditions=plan.conditions, spec=plan.robustness,
            widths=self.harvester.widths if run.corpus.vectors else {},
        )  # fmt: skip

    def shard(self, index: int) -> str:
        """The test rows of shard `index` under every condition; stores them, returns their key.

        Memory holds them under one condition at a time.
        """
        import pyarrow.parquet as pq

        rows, clean = self._test_rows(index)
        lengths: dict[str, int] = {}
        with tempfile.TemporaryDirectory(prefix="orch-harvest-") as folder:
            local = Path(folder) / shard_name(index)
            with pq.ParquetWriter(local, clean.schema, compression="zstd") as writer:
                for condition in self.plan.conditions if len(rows) else ():
                    table = self._under(condition, rows, clean)
                    writer.write_table(table)
                    for name, steps in self._steps(table).items():
                        lengths[name] = lengths.get(name, 0) + steps
                writer.add_key_value_metadata({SUMS: json.dumps({"lengths": lengths}).encode("utf-8")})
            return self.plan.store(index, local)

    def _test_rows(self, index: int) -> tuple[pa.Table, pa.Table]:
        """Those of the corpus, and the same of the clean set without what no student reads."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        plan, found = self.plan.clean, []
        stored = verified(plan.storage, plan.prefix, shard_name(index), self.clean.files)
        with stored as path, path.open("rb") as handle:
            taught = pq.read_table(handle)
        for whole in (read_shard(plan.storage, plan.corpus, index), taught):
            table = with_fold(whole, plan.run.fold) if "folds" in whole.column_names else whole
            found.append(table.filter(pc.equal(table["split"], "test")).combine_chunks())
        rows, clean = found
        kept = [name for name in clean.column_names if _kept(name, self.plan.taught)]
        return rows, clean.select(kept).replace_schema_metadata(None)

    def _under(self, condition: Condition, rows: pa.Table, clean: pa.Table) -> pa.Table:
        import pyarrow as pa

        harmed, modality = self.damages.done(rows, condition), condition.modality
        columns: dict[str, Any] = {"split": pa.array([condition.name] * len(rows))}
        for stream in self.harvester.streams(harmed, modality).values():
            columns[stream_column(modality)] = list_column(stream.rows, stream.stored)
        if modality in self.harvester.teachers and self.plan.taught:
            columns |= self._taught(modality, harmed)
        return pa.table({name: columns.get(name, clean[name]) for name in clean.column_names}, schema=clean.schema)

    def _taught(self, name: str, rows: pa.Table) -> dict[str, Any]:
        """What the teacher says of the rows, and the sequences that it says it by."""
        teacher = self.harvester.teachers[name]  # type: ignore[index]
        found = self.harvester.outputs(teacher, self.harvester.source(teacher, rows), True)
        return {
            f"{name}.logits": list_column(list(found["logits"]), np.float32),
            f"{name}.pooled": list_column(list(found["pooled"]), np.float16),
            f"{name}.frames": list_column([frames.numpy() for frames in found["frames"]], np.float16),
        }

    def _steps(self, table: pa.Table) -> dict[str, int]:
        """The length of every column of sequences, end to end."""
        sizes = {
            stream_column(m): int(np.prod(step_shape(stream["kind"], stream["width"])))
            for m, stream in self.info["streams"].items()
        }
        sizes |= {f"{teacher}.frames": width for teacher, width in self.info["dims"].items()}
        sizes |= {f"{granularity}.segments": 2 for granularity in self.info["segments"]}
        return {n: int(flat(table, n)[1].sum()) // size for n, size in sizes.items() if n in table.column_names}


def finish_damaged(plan: DamagedPlan, seconds: float = 0.0) -> Record:
    """Make the damaged set visible once every shard is there; returns its record. Idempotent."""
    done = read_record(plan.storage, plan.prefix)
    if done is not None:
        return done
    if plan.pending():
        raise ArtifactError(f"{plan.prefix}: shards {plan.pending()} are missing; run the harvest again")
    whole = totals(plan)
    clean = _clean_record(plan).info
    dims = {name: width for name, width in clean["dims"].items() if plan.taught and name != "fusion"}
    record = Record(
        kind="transfer_set",
        fingerprint=plan.fingerprint,
        spec={"robustness": plan.robustness.model_dump(mode="json")},
        reads={"corpus": plan.clean.corpus, "transfer_set": plan.clean.fingerprint},
        rows=whole.counts,
        info={
            **clean,
            "kind": "damaged",
            "clean": plan.clean.fingerprint,
            "conditions": {condition.name: condition.model_dump(mode="json") for condition in plan.conditions},
            "dims": dims,
            "segments": clean["segments"] if plan.taught else [],
            "counts": whole.counts,
            "lengths": whole.lengths,
        },
        created=datetime.now(UTC),
        seconds=seconds,
    )
    return publish(plan.storage, plan.prefix, None, record, stored=whole.files)


def _needed(plan: DamagedPlan) -> HarvestPlan:
    """The clean plan with those teachers alone that are to run again, and the one whose word pieces are wanted."""
    run = plan.clean.run
    wanted = {condition.modality for condition in plan.conditions} if plan.taught else {"text"}
    dropped: dict[str, Any] = {name: None for name in run.teachers.names if name not in wanted}
    run = run.model_copy(update={"teachers": run.teachers.model_copy(update=dropped)})
    return replace(plan.clean, run=run, needs=Needs(frames=plan.taught))


def _kept(column: str, taught: bool) -> bool:
    """Whether a damaged set has this column of a clean one."""
    owner, _, part = column.partition(".")
    return part in ("", "stream") or (taught and owner != "fusion" and part != "attention")


def _clean_record(plan: DamagedPlan) -> Record:
    record = read_record(plan.storage, plan.clean.prefix)
    if record is None:
        raise ArtifactError(f"{plan.storage.url(plan.clean.prefix)}: no record; finish the clean harvest first")
    return record
