"""S3's student: any subset of its modalities, a learned token for each that misses."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.helpers.batches import longer, with_values
from tests.helpers.students import SMALL
from tests.helpers.transfer_sets import synthetic
from trainables.absence import only
from trainables.batching import Batcher
from trainables.encoders import VisualStem
from trainables.spec.base import MODALITIES
from trainables.spec.student import CrossModalTransformer
from trainables.students import StudentOutput, build_student
from trainables.students.cross_modal import CrossModalStudent
from trainables.transfer_set import TransferSet

SUBSETS = [kept for size in (1, 2, 3) for kept in combinations(MODALITIES, size)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), modalities=MODALITIES)


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("vectors"), modalities=MODALITIES, vectors=True)


def student_of(data: TransferSet, **spec: Any) -> CrossModalStudent:
    size = SMALL["cross_modal_transformer"]
    known = CrossModalTransformer.model_validate({**size, "modalities": MODALITIES, **spec})
    student = build_student(known, data, seed=3).eval()
    assert isinstance(student, CrossModalStudent)
    return student


def everything(output: StudentOutput) -> list[Tensor]:
    return [
        output.logits, output.embedding, *output.pooled.values(), *output.crossed.values(),
        *output.attention.values(),
    ]  # fmt: skip


@pytest.mark.parametrize("kept", SUBSETS, ids="+".join)
def test_one_network_answers_every_subset_and_each_differently(data: TransferSet, kept: tuple[Any, ...]) -> None:
    student = student_of(data)
    batcher = Batcher(data, student.spec)
    batch = batcher.batch(np.arange(10, 16))
    whole = student(batch).logits
    part = student(only(batch, MODALITIES, kept, batcher.pad_id)).logits
    assert torch.isfinite(part).all() and part.shape == (6, 7)
    assert torch.equal(part, whole) == (kept == MODALITIES)


@pytest.mark.parametrize("kept", [k for k in SUBSETS if k != MODALITIES], ids="+".join)
def test_what_is_absent_is_not_looked_at(data: TransferSet, kept: tuple[Any, ...]) -> None:
    """The answer of a part does not depend on what was there of the rest."""
    student = student_of(data, pooling="attention")
    batcher = Batcher(data, student.spec)
    batch = batcher.batch(np.arange(10, 16))
    other = batch
    for modality in set(MODALITIES) - set(kept):
        other = with_values(other, modality, batch.streams[modality].values.flip(0))
    a, b = (student(only(one, MODALITIES, kept, batcher.pad_id)).logits for one in (batch, other))
    torch.testing.assert_close(a, b)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_token_of_what_misses_is_learned_and_no_other(data: TransferSet, modality: str) -> None:
    student = student_of(data)
    batcher = Batcher(data, student.spec)
    kept = tuple(m for m in MODALITIES if m != modality)
    batch = only(batcher.batch(np.arange(10, 16)), MODALITIES, kept, batcher.pad_id)
    student(batch).logits.sum().backward()
    moved = {m: float(token.grad.abs().sum()) > 0 for m, token in student.missing.items() if token.grad is not None}
    assert {m for m, gets in moved.items() if gets} == {modality}


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_stream_hears_the_others(data: TransferSet, modality: str) -> None:
    student = student_of(data, self_layers=1)
    batch = Batcher(data, student.spec).batch(np.arange(10, 12))
    other = next(m for m in MODALITIES if m != modality)
    values = batch.streams[other].values
    changed = (values + 1) % 30 if other == "text" else values.flip(1)
    difference = student(batch).crossed[modality] - student(with_values(batch, other, changed)).crossed[modality]
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize("spec", [{}, {"pooling": "attention"}, {"modalities": ["visual"]}, {"cross_layers": 0}])
def test_what_the_padding_holds_never_shows(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = Batcher(data, student.spec).batch(np.arange(6))
    pairs = zip(everything(student(batch, 4)), everything(student(longer(batch), 4)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_batch_is_its_rows(data: TransferSet) -> None:
    student = student_of(data)
    batcher = Batcher(data, student.spec)
    batched = everything(student(batcher.batch(np.arange(4)), 4))  # some rows of them lack a modality
    single = [everything(student(batcher.batch(np.array([i])), 4)) for i in range(4)]
    for whole, parts in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(list(parts)), whole, rtol=1e-4, atol=1e-5)


def test_rows_that_the_corpus_lacks_get_the_token(data: TransferSet) -> None:
    student = student_of(data)
    batcher = Batcher(data, student.spec)
    row = np.flatnonzero(~data.present("visual"))[:1]
    batch = batcher.batch(row)
    kept = only(batch, MODALITIES, ("audio", "text"), batcher.pad_id)
    torch.testing.assert_close(student(batch).logits, student(kept).logits)


def test_maps_are_each_streams_own(data: TransferSet) -> None:
    student = student_of(data)
    maps = student(Batcher(data, student.spec).batch(np.arange(10, 14)), attention=4).attention
    assert list(maps) == list(MODALITIES)
    assert all(one.shape == (4, 4, 4) for one in maps.values())


def test_vectors_are_read_in_the_place_of_anything(vectors: TransferSet) -> None:
    student = student_of(vectors)
    output = student(Batcher(vectors, student.spec).batch(np.arange(10, 14)))
    assert output.logits.shape == (4, 7) and list(output.pooled) == list(MODALITIES)


def test_a_picture_is_known_whatever_its_light(data: TransferSet) -> None:
    torch.manual_seed(0)
    stem = VisualStem(16, 4, 8, 0.0)
    dark = torch.randint(40, 80, (1, 3, 16, 16), dtype=torch.uint8)
    bright = (2 * dark + 30).to(torch.uint8)
    mask = torch.ones(1, 3, dtype=torch.bool)
    torch.testing.assert_close(stem(dark, mask), stem(bright, mask), rtol=1e-4, atol=1e-4)
    assert torch.isfinite(stem(torch.zeros_like(dark), mask)).all()
