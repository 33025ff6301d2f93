"""The end of a harvest: what needs all shards, and the record that makes the transfer set visible."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.artifacts import Record, publish, read_record
from trainables.errors import ArtifactError
from trainables.features import Vocabulary
from trainables.teachers.harvest import vocabulary_of
from trainables.teachers.identity import prefix
from trainables.teachers.plan import HarvestPlan
from trainables.teachers.shards import Totals, totals
from trainables.teachers.store import fetch_teacher
from trainables.teachers.utterances import corpus_record
from trainables.transfer_set import NORMALISED, SCHEMA_VERSION, TOKEN_TABLE


def finish(plan: HarvestPlan, seconds: float = 0.0) -> Record:
    """Make the transfer set visible once every shard is there; returns its record. Idempotent."""
    done = read_record(plan.storage, plan.prefix)
    if done is not None:
        return done
    if plan.pending():
        raise ArtifactError(f"{plan.prefix}: shards {plan.pending()} are missing; run the harvest again")
    with tempfile.TemporaryDirectory(prefix="orch-harvest-") as name:
        folder = Path(name)
        vocabulary = _write_token_table(plan, folder)
        whole = totals(plan)
        record = Record(
            kind="transfer_set",
            fingerprint=plan.fingerprint,
            spec={
                "features": plan.run.features.model_dump(mode="json"),
                "needs": plan.needs.model_dump(mode="json"),
            },
            reads={"corpus": plan.corpus, **{str(k): v for k, v in plan.teachers.items()}},
            rows=whole.counts,
            info={"schema": SCHEMA_VERSION, **_info(plan, vocabulary, whole)},
            created=datetime.now(UTC),
            seconds=seconds,
        )
        return publish(plan.storage, plan.prefix, folder, record, stored=whole.files)


def _write_token_table(plan: HarvestPlan, folder: Path) -> Vocabulary | None:
    """The fine-tuned text teacher's embedding of the student's pieces, as `token_table.safetensors`."""
    from safetensors.torch import save_file

    if plan.run.teachers.text is None:
        return None
    with tempfile.TemporaryDirectory(prefix="orch-teachers-") as name:
        text = fetch_teacher(plan.storage, plan.teachers["text"], Path(name))
    vocabulary = vocabulary_of(plan, text)
    assert vocabulary is not None
    table: Tensor = text.encoder.loaded.model.get_input_embeddings().weight
    rows = table[torch.tensor(vocabulary.pieces)].float().contiguous()
    save_file({"weight": rows}, folder / TOKEN_TABLE)
    return vocabulary


def _info(plan: HarvestPlan, vocabulary: Vocabulary | None, whole: Totals) -> dict[str, Any]:
    corpus = corpus_record(plan.storage, plan.corpus)
    return {
        "labels": corpus.info["labels"],
        "multi_label": corpus.info["multi_label"],
        "streams": _streams(plan, vocabulary, corpus.info["widths"], whole.sums),
        "pad_id": vocabulary.pad_id if vocabulary else 0,
        "unk_id": vocabulary.unk_id if vocabulary else 0,
        "dims": _widths(plan),
        "grid": plan.run.features.attention_grid,
        "counts": whole.counts,
        "lengths": whole.lengths,
        "segments": list(plan.needs.segments),
        "alignment": corpus.info.get("alignment"),
        "stand_in": bool(corpus.info.get("stand_in", False)),
    }


def _streams(
    plan: HarvestPlan, vocabulary: Vocabulary | None, widths: dict[str, int], sums: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Kind and width of each stream, and what `log_mel` and `vectors` are normalised with."""
    features, found = plan.run.features, dict[str, dict[str, Any]]()
    for modality, kind in plan.kinds.items():
        if kind == "vectors":
            width = widths[modality]
        elif kind == "tokens":
            assert vocabulary is not None
            width = len(vocabulary)
        else:
            width = features.mel_bands if kind == "log_mel" else features.image_size
        found[modality] = {"kind": kind, "width": width}
    for name, stream in found.items():
        if stream["kind"] in NORMALISED:
            mean, std = _normalisation([s["moments"][name] for s in sums], stream["width"])
            stream |= {"mean": mean, "std": std}
    return found


def _normalisation(moments: list[dict[str, Any]], width: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each of `width` columns over the train steps; 0 and 1 where there are none."""
    known = [m for m in moments if m]
    if not known:
        return [0.0] * width, [1.0] * width
    total = sum(m["count"] for m in known)
    mean = np.sum([m["sum"] for m in known], axis=0) / total
    square = np.sum([m["square"] for m in known], axis=0) / total
    return mean.tolist(), np.sqrt(np.maximum(square - mean**2, 1e-6)).tolist()


def _widths(plan: HarvestPlan) -> dict[str, int]:
    """The width of each teacher's pooled vectors, from the teachers' own records."""
    widths = {}
    for name, identity in plan.teachers.items():
        record = read_record(plan.storage, prefix(identity))
        if record is None:
            raise ArtifactError(f"{plan.storage.url(prefix(identity))}: the {name} teacher has no record")
        widths[str(name)] = int(record.info["width"])
    return widths
