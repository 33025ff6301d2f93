from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import ValidationError
from torch import Tensor

from tests.helpers.batches import with_values
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher
from trainables.evaluation import count_parameters
from trainables.spec.student import InvertedTransformer
from trainables.students import Sizes, StudentOutput, build_student, make_student
from trainables.students.inverted import InvertedStudent, PostNormBlock, instance_norm
from trainables.transfer_set import TransferSet

SMALL: dict[str, Any] = {"width": 16, "heads": 2, "layers": 2, "length": 24}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"pooling": "attention", "normalisation": "none"},
    {"pooling": "cls", "layers": 1},
    {"tokens": "query", "queries": 5},
    {"tokens": "query", "queries": 5, "pooling": "cls"},
]
EVERY = pytest.mark.parametrize("spec", VARIANTS, ids=lambda s: "-".join(map(str, s.values())) or "default")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), modalities=("audio",))


def student_of(data: TransferSet, **spec: Any) -> InvertedStudent:
    student = build_student(InvertedTransformer(**SMALL | spec), data, seed=0).eval()
    assert isinstance(student, InvertedStudent)
    return student


def frames_of(batch: Batch) -> tuple[Tensor, Tensor]:
    assert batch.streams["audio"].values is not None and batch.streams["audio"].mask is not None
    return batch.streams["audio"].values, batch.streams["audio"].mask


def everything(output: StudentOutput) -> list[Tensor]:
    return [output.logits, output.embedding, output.attention["audio"]]


@EVERY
def test_shapes(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = Batcher(data, student.spec).batch(np.arange(5))
    output = student(batch, attention=4)
    assert output.logits.shape == (5, 7) and output.embedding.shape == (5, 16)
    assert torch.equal(output.pooled["audio"], output.embedding) and output.crossed == {}
    assert student.widths.embedding == student.widths.pooled["audio"] == 16
    assert output.attention["audio"].shape == (5, 4, 4)
    assert student(batch).attention == {}
    torch.testing.assert_close(student(batch).logits, output.logits)


@EVERY
def test_one_at_a_time_equals_batched(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batcher = Batcher(data, student.spec)
    batched = everything(student(batcher.batch(np.arange(4)), attention=4))
    single = [everything(student(batcher.batch(np.array([i])), attention=4)) for i in range(4)]
    for whole, parts in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(list(parts)), whole, rtol=1e-4, atol=1e-5)


@EVERY
def test_what_the_padding_holds_never_shows(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = Batcher(data, student.spec).batch(np.arange(6))
    frames, mask = frames_of(batch)
    longer, valid = F.pad(frames, (0, 0, 0, 9)), F.pad(mask, (0, 9))
    noisy = torch.where(valid[..., None], longer, torch.full_like(longer, 50.0))
    before = everything(student(batch, attention=4))
    after = everything(student(with_values(batch, "audio", noisy, valid), attention=4))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("length", [7, 24, 100])
def test_steps_are_those_of_each_utterance_alone(data: TransferSet, length: int) -> None:
    """Against torch's own instance norm and adaptive pooling, an utterance at a time and without padding."""
    student = student_of(data, length=length)
    batch = Batcher(data, student.spec).batch(np.arange(6))
    frames, mask = frames_of(batch)
    ours = student._steps(batch)
    assert ours.shape == (6, length, 8)
    for row in range(6):
        alone = frames[row, : int(mask[row].sum())].T[None]
        expected = F.adaptive_avg_pool1d(F.instance_norm(alone, eps=1e-5), length)[0].T
        torch.testing.assert_close(ours[row], expected, rtol=1e-4, atol=1e-5)


def test_instance_norm_by_hand() -> None:
    frames = torch.tensor([[[1.0, 5.0], [3.0, 5.0], [99.0, 99.0]]])
    normal = instance_norm(frames, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(normal[0], torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("normalisation", "differs"), [("instance", False), ("none", True)])
def test_loudness_is_forgotten_where_each_utterance_is_normalised(
    data: TransferSet, normalisation: str, differs: bool
) -> None:
    student = student_of(data, normalisation=normalisation)
    batch = Batcher(data, student.spec).batch(np.arange(3))
    frames, _ = frames_of(batch)
    louder = student(with_values(batch, "audio", 2 * frames + 1)).logits
    assert ((louder - student(batch).logits).abs().max() > 1e-3) == differs


def test_bands_are_told_apart(data: TransferSet) -> None:
    """The linear layer is shared, so that without its embedding a band's place would be unknown."""
    student = student_of(data)
    batch = Batcher(data, student.spec).batch(np.arange(3))
    frames, _ = frames_of(batch)
    swapped = with_values(batch, "audio", frames.flip(2))
    assert (student(swapped).logits - student(batch).logits).abs().max() > 1e-3
    torch.nn.init.zeros_(student.tokens.bands)  # type: ignore[arg-type]
    torch.testing.assert_close(student(swapped).logits, student(batch).logits, rtol=1e-4, atol=1e-5)


def test_queries_know_the_order_of_time(data: TransferSet) -> None:
    student = student_of(data, tokens="query", queries=5)
    batch = Batcher(data, student.spec).batch(np.array([0]))
    frames, _ = frames_of(batch)
    assert (student(with_values(batch, "audio", frames.flip(1))).logits - student(batch).logits).abs().max() > 1e-3


def test_a_block_ends_normalised() -> None:
    block = PostNormBlock(16, 2, 4, 0.0)
    out, mean = block(torch.randn(2, 5, 16) * 9, torch.ones(2, 1, 1, 5, dtype=torch.bool), maps=True)
    torch.testing.assert_close(out.mean(dim=2), torch.zeros(2, 5), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var(dim=2, unbiased=False), torch.ones(2, 5), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mean.sum(dim=2), torch.ones(2, 5))


def test_a_row_without_any_valid_frame_stays_finite(data: TransferSet) -> None:
    student = student_of(data).train()
    batch = Batcher(data, student.spec).batch(np.arange(3))
    _, mask = frames_of(batch)
    mask = mask.clone()
    mask[1] = False
    output = student(with_values(batch, "audio", mask=mask), attention=4)
    output.logits.sum().backward()
    assert all(torch.isfinite(x).all() for x in everything(output))
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in student.parameters())


@pytest.mark.parametrize(
    ("dtype", "half", "expected"), [(torch.float32, True, torch.float32), (torch.float64, False, torch.float64)]
)
def test_what_leaves_it_is_float32_at_least(
    data: TransferSet, dtype: torch.dtype, half: bool, expected: torch.dtype
) -> None:
    student = student_of(data).to(dtype)
    batch = Batcher(data, student.spec).batch(np.arange(3))
    frames, _ = frames_of(batch)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        output = student(with_values(batch, "audio", frames.to(dtype)), attention=4)
    assert {x.dtype for x in everything(output)} == {expected}


def test_the_default_has_two_and_a_half_million_parameters() -> None:
    student = make_student(InvertedTransformer(), Sizes(classes=4, streams={"audio": ("log_mel", 80)}))
    d, bands, length, classes = 256, 80, 300, 4
    tokens = length * d + d + bands * d
    attention, feedforward, norms = 4 * (d * d + d), 2 * 4 * d * d + 4 * d + d, 2 * 2 * d
    expected = tokens + 3 * (attention + feedforward + norms) + 2 * d + d * classes + classes
    assert count_parameters(student) == expected == 2_468_356


def test_it_hears_and_does_not_read() -> None:
    with pytest.raises(ValidationError, match="modalities"):
        InvertedTransformer.model_validate({"modalities": ["audio", "text"]})
    with pytest.raises(ValidationError, match="width 30 is not divisible by heads 8"):
        InvertedTransformer(width=30)
