"""The network of S2: means over spans, rows without a segment, masks, single modalities, gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batch, Batcher, SegmentBatch
from trainables.errors import ArtifactError
from trainables.fusion import key_mask
from trainables.multi_level import PostNorm, or_frames, segment_means
from trainables.spec.student import MultiLevelFusion
from trainables.students import StudentOutput, build_student
from trainables.students.multi_level import MultiLevelStudent
from trainables.transfer_set import TransferSet

LEVELS = ("frame", "phone", "syllable", "word")
VARIANTS: list[dict[str, Any]] = [
    {},
    {"pooling": "attention", "layers": 2},
    {"levels": ["frame"], "unimodal": False},
    {"levels": ["word", "phone"]},
    {"modalities": ["audio"]},
    {"modalities": ["audio"], "levels": ["syllable"], "unimodal": False, "pooling": "attention"},
    {"modalities": ["text"]},
]
MEMBERS = [6, 6, 1, 4, 5, 1, 1]
every = pytest.mark.parametrize("spec", VARIANTS, ids=str)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), frames=True, segments=True)


def student_of(data: TransferSet, **spec: Any) -> MultiLevelStudent:
    small = MultiLevelFusion.model_validate({"width": 16, "heads": 2, **spec})
    student = build_student(small, data, seed=0).eval()
    assert isinstance(student, MultiLevelStudent)
    return student


def batch_of(data: TransferSet, student: MultiLevelStudent, rows: int = 6) -> Batch:
    return Batcher(data, student.spec).batch(data.rows("dev", ())[:rows])


def everything(output: StudentOutput) -> list[Tensor]:
    assert output.members is not None
    return [output.logits, output.members, output.embedding, *output.pooled.values(), *output.crossed.values()]


def test_segment_means_are_those_of_a_loop() -> None:
    torch.manual_seed(0)
    frames = torch.randn(3, 9, 4)
    spans = torch.tensor([[[0, 1], [1, 4], [4, 9]], [[2, 3], [3, 3], [0, 0]], [[8, 9], [0, 9], [5, 7]]])
    found = segment_means(frames, spans)
    for b in range(3):
        for s in range(3):
            first, last = spans[b, s].tolist()
            expected = frames[b, first:last].mean(0) if last > first else torch.zeros(4)
            torch.testing.assert_close(found[b, s], expected)


def test_a_row_without_a_segment_is_read_by_its_frames() -> None:
    frames = torch.randn(2, 5, 3)
    spans = torch.tensor([[[0, 2], [2, 5]], [[0, 0], [0, 0]]])
    mask = torch.tensor([[True, True], [False, False]])
    frame_mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    filled, valid = or_frames(spans, mask, frame_mask)
    assert valid.tolist() == [[True, True, False, False, False], frame_mask[1].tolist()]
    assert filled[0, :2].tolist() == spans[0].tolist()
    assert torch.equal(segment_means(frames, filled)[1, :3], frames[1, :3])


def test_spans_are_left_alone_where_every_row_has_one() -> None:
    spans, mask = torch.tensor([[[0, 2]]]), torch.tensor([[True]])
    filled, valid = or_frames(spans, mask, torch.ones(1, 7, dtype=torch.bool))
    assert filled is spans and valid is mask


def test_the_block_is_the_formula_as_written() -> None:
    """A' = LN(A + MHA(A, W, W)), A'' = LN(A' + FFN(A')), against torch's own multi-head attention."""
    torch.manual_seed(0)
    block = PostNorm(MultiLevelFusion(width=8, heads=2, dropout=0.0), crossed=True)
    assert block.attention is not None and block.norm_attention is not None
    a, w, mask = torch.randn(2, 5, 8), torch.randn(2, 3, 8), torch.tensor([[True] * 3, [True, False, False]])
    own = block.attention
    torch_own = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        torch_own.in_proj_weight.copy_(torch.cat([own.query.weight, own.key_value.weight]))
        torch_own.in_proj_bias.copy_(torch.cat([own.query.bias, own.key_value.bias]))
    torch_own.out_proj.load_state_dict(own.out.state_dict())
    seen = block.norm_attention(a + torch_own(a, w, w, key_padding_mask=~mask)[0])
    expected = block.norm(seen + block.narrow(torch.relu(block.widen(seen))))
    torch.testing.assert_close(block(a, w, key_mask(mask)), expected)


@pytest.mark.parametrize(("spec", "members"), zip(VARIANTS, MEMBERS, strict=True), ids=str)
def test_shapes(data: TransferSet, spec: dict[str, Any], members: int) -> None:
    student = student_of(data, **spec)
    output = student(batch_of(data, student))
    both = len(student.modalities) == 2
    assert output.logits.shape == (6, 7) and output.members.shape == (6, members, 7)
    assert list(output.pooled) == list(student.widths.pooled) == list(student.modalities)
    assert list(output.crossed) == list(student.widths.crossed) == (list(student.modalities) if both else [])
    assert output.embedding.shape == (6, student.widths.embedding) == (6, 16 * len(student.modalities))
    assert all(torch.isfinite(x).all() for x in everything(output))


@every
def test_one_at_a_time_equals_batched(data: TransferSet, spec: dict[str, Any]) -> None:
    """The first row has no segment at all, and is among them."""
    student = student_of(data, **spec)
    batcher, rows = Batcher(data, student.spec), data.rows("dev", ())[:4]
    batched = everything(student(batcher.batch(rows)))
    single = [everything(student(batcher.batch(rows[i : i + 1]))) for i in range(4)]
    for whole, parts in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(list(parts)), whole, rtol=1e-4, atol=1e-5)


@every
def test_what_the_padding_holds_never_shows(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = batch_of(data, student)
    before = everything(student(batch))
    for a, b in zip(before, everything(student(longer(batch))), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def longer(batch: Batch) -> Batch:
    """The same utterances with five more steps of padding, which hold anything."""
    teachers = {}
    for name, teacher in batch.teachers.items():
        assert teacher.frames is not None and teacher.frame_mask is not None
        mask = nn.functional.pad(teacher.frame_mask, (0, 5))
        frames = nn.functional.pad(teacher.frames, (0, 0, 0, 5))
        teachers[name] = replace(teacher, frames=frames.masked_fill(~mask[..., None], 7.0), frame_mask=mask)
    segments = {
        g: SegmentBatch(nn.functional.pad(s.spans, (0, 0, 0, 5), value=1), nn.functional.pad(s.mask, (0, 5)))
        for g, s in batch.segments.items()
    }
    return replace(batch, teachers=teachers, segments=segments)


@every
def test_every_weight_learns(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec).train()
    members = student(batch_of(data, student)).members
    assert members is not None
    torch.autograd.backward(members.square().sum())
    still = [n for n, p in student.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A score is shared by all steps, so that its bias moves no weight.
    assert [name for name in still if not name.endswith(("score.bias", "key_value.bias"))] == []


def test_a_level_is_the_text_and_its_own_segments_alone(data: TransferSet) -> None:
    student = student_of(data)
    batch = batch_of(data, student)
    words = batch.segments["word"]
    moved = replace(batch, segments={**batch.segments, "word": SegmentBatch(words.spans[:, :1], words.mask[:, :1])})
    before, after = student(batch).members, student(moved).members
    assert before is not None and after is not None
    changed = (before - after).abs().amax((0, 2)) > 1e-6
    assert dict(zip(student.network.members, changed.tolist(), strict=True)) == {
        **dict.fromkeys(student.network.members, False), "word": True,
    }  # fmt: skip


@pytest.mark.parametrize("vector", ["first", "mean"])
def test_the_unimodal_classifiers_read_one_stream_each(data: TransferSet, vector: str) -> None:
    student = student_of(data, text_vector=vector)
    batch = batch_of(data, student)
    text = batch.teachers["text"]
    assert text.frames is not None
    frames = text.frames.clone()
    frames[:, 1:] = 0
    moved = replace(batch, teachers={**batch.teachers, "text": replace(text, frames=frames)})
    before, after = student(batch).members, student(moved).members
    assert before is not None and after is not None
    changed = dict(zip(student.network.members, ((before - after).abs().amax((0, 2)) > 1e-6).tolist(), strict=True))
    assert changed == {**dict.fromkeys(LEVELS, True), "audio": False, "text": vector == "mean"}


def test_the_order_of_levels_and_modalities_bears_on_nothing(data: TransferSet) -> None:
    one = student_of(data, levels=["word", "frame"], modalities=["text", "audio"])
    other = student_of(data, levels=["frame", "word"])
    assert one.network.members == ("frame", "word", "audio", "text")
    batch = batch_of(data, other)
    assert torch.equal(one(batch).logits, other(batch).logits)


def test_training_looks_at_the_mean_and_evaluation_at_what_was_fitted(data: TransferSet) -> None:
    student = student_of(data, dropout=0.0, late="weights")
    batch = batch_of(data, student)
    members = student(batch).members
    assert members is not None
    mean = members.softmax(2).mean(1).log()
    torch.testing.assert_close(student(batch).logits, mean)
    sharp = members + 4 * nn.functional.one_hot(batch.labels, 7)[:, None] * torch.eye(6)[2][None, :, None]
    student.fit_fusion(sharp, batch.labels)
    assert student.late.fitted.softmax(0).argmax() == 2
    assert not torch.allclose(student(batch).logits, mean, atol=1e-3)
    torch.testing.assert_close(student.train()(batch).logits, mean)


def test_a_transfer_set_without_the_teacher_is_refused(tmp_path: Any) -> None:
    data = synthetic(tmp_path, modalities=("text",), frames=True)
    with pytest.raises(ArtifactError, match=r"the audio teacher, and the transfer set has only text; set teachers"):
        student_of(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"width": 10, "heads": 4}, "not divisible"), ({"levels": ["word", "word"]}, "at most once")],
)
def test_what_cannot_be_built_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MultiLevelFusion.model_validate(fields)


def test_needs_follow_levels_and_modalities() -> None:
    assert MultiLevelFusion(levels=("word", "phone")).needs.segments == ("phone", "word")
    assert MultiLevelFusion(levels=("frame",)).needs.segments == ()
    assert MultiLevelFusion(modalities=("text",)).needs.segments == ()
    assert np.all([MultiLevelFusion().needs.frames, not MultiLevelFusion().reads_features])
