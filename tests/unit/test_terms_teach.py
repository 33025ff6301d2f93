"""Each term alone moves what it is about: from the untrained student to a few epochs later, on train rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import Tensor

from tests.helpers.students import run_of
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher
from trainables.checkpoint import below
from trainables.determinism import derive
from trainables.losses.attention import attention_transfer
from trainables.reporter import ListReporter
from trainables.run import load_student, train
from trainables.spec import RunSpec
from trainables.spec.demands import needs_of
from trainables.students import StudentOutput, build_student
from trainables.transfer_set import TransferSet


@dataclass(frozen=True)
class Seen:
    """What a trained student makes of every train row."""

    output: StudentOutput
    batch: Batch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    """Attention maps that can be learned: every query looks at the utterance's end."""
    drawn = synthetic(tmp_path_factory.mktemp("data"), attention=True)
    maps = np.zeros((len(drawn), 4, 4), np.float16)
    maps[:, :, 3] = 1.0
    teachers = {n: t if t.attention is None else replace(t, attention=maps) for n, t in drawn.teachers.items()}
    return replace(drawn, teachers=teachers)


def before_and_after(data: TransferSet, terms: dict[str, Any]) -> tuple[Seen, Seen]:
    """12 epochs in which the labels hardly weigh."""
    method = {"type": "distil", "label_weight": 1e-4, "terms": terms}
    training = {"epochs": 12, "learning_rate": 0.005}
    run = run_of({"dropout": 0, "embedding_dropout": 0}, method, training=training, seed=1)
    untrained = build_student(run.student, data, derive(run.seed, "student")).eval()
    trained = load_student(run, data, last_weights(run, data))
    needs = needs_of(run).model_copy(update={"attention": True})
    batcher = Batcher(data, run.student, needs, tuple(data.teachers))
    batch = batcher.batch(data.rows("train", run.student.modalities))
    with torch.no_grad():
        return Seen(untrained(batch, 4), batch), Seen(trained(batch, 4), batch)


def last_weights(run: RunSpec, data: TransferSet) -> dict[str, Tensor]:
    """Of the last epoch: the loop keeps those with the best dev score, of which these terms know nothing."""
    kept: dict[str, Tensor] = {}

    class Last(ListReporter):
        def save(self, folder: Path) -> None:
            tensors = load_file(str(folder / "state.safetensors"))
            kept.update(below("student", tensors))

    train(run, data, Last(), threads=1, checkpoint_every_seconds=0.0)
    return kept


def correlation(x: Tensor, y: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1])


def logits(found: Seen) -> float:
    """Correlation of the student's logits with the teacher's, each row about its mean."""
    rows = [x - x.mean(dim=1, keepdim=True) for x in (found.output.logits, found.batch.teachers["fusion"].logits)]
    return correlation(*rows)


def regressed(found: Seen) -> float:
    """Share of the teachers' pooled vectors that a linear map from the student's explains."""
    shares = []
    for m, x in found.output.pooled.items():
        y = found.batch.teachers[m].pooled
        design = torch.cat([x, torch.ones(len(x), 1)], dim=1)
        left = y - design @ torch.linalg.lstsq(design, y).solution
        shares.append(1 - float(left.square().sum() / (y - y.mean(dim=0)).square().sum()))
    return float(np.mean(shares))


def attended(found: Seen) -> float:
    """Minus the distance of the maps."""
    own = found.output.attention
    maps = {m: found.batch.teachers[m].attention for m in own}
    return -sum(float(attention_transfer(own[m], theirs)) for m, theirs in maps.items() if theirs is not None)


def distances(found: Seen) -> float:
    """Correlation of the embeddings' pairwise distances with the teacher's."""
    return correlation(torch.pdist(found.output.embedding), torch.pdist(found.batch.teachers["fusion"].pooled))


def alike(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment, within [0, 1]."""
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def shared(found: Seen) -> float:
    return alike(found.output.embedding, found.batch.teachers["fusion"].pooled)


def clustered(found: Seen) -> float:
    """Mean cosine of utterances of one label above that of utterances of two."""
    u = F.normalize(found.output.embedding, dim=1)
    cosines, equal = u @ u.T, found.batch.labels[:, None] == found.batch.labels[None]
    return float(cosines[equal].mean() - cosines[~equal].mean())


def agreeing(found: Seen) -> float:
    """How much the two modalities' vectors share."""
    return alike(found.output.pooled["audio"], found.output.pooled["text"])


MEASURES: list[tuple[str, dict[str, Any], Callable[[Seen], float], float]] = [
    ("kd", {}, logits, 0.2),
    ("dkd", {}, logits, 0.2),
    ("dist", {}, logits, 0.2),
    ("hint", {}, regressed, 0.1),
    ("attention", {}, attended, 0.5),
    ("rkd", {}, distances, 0.2),
    ("crd", {}, shared, 0.1),
    ("supcon", {}, clustered, 0.2),
    ("info_nce", {}, shared, 0.1),
    ("pairs", {}, agreeing, 0.1),
    ("pairs", {"estimator": "mine"}, agreeing, 0.1),
    ("pairs", {"estimator": "info_nce"}, agreeing, 0.1),
]
"""(term, its fields, what is measured, by how much it rises at least)."""


@pytest.mark.parametrize(
    ("name", "fields", "measure", "rise"), MEASURES, ids=lambda v: v.__name__ if callable(v) else str(v)
)
def test_a_term_moves_what_it_is_about(
    data: TransferSet, name: str, fields: dict[str, Any], measure: Callable[[Seen], float], rise: float
) -> None:
    before, after = (measure(one) for one in before_and_after(data, {name: {"enabled": True, **fields}}))
    print(f"{name} {fields}: {before:.3f} -> {after:.3f}")
    assert after > before + rise
