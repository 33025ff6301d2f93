from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.helpers.batches import longer, with_values, without_steps
from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batcher
from trainables.encoders import Dropout, HalvingConv, TokenEmbedding, principal_components, sinusoids
from trainables.errors import ArtifactError
from trainables.evaluation import count_parameters
from trainables.fusion import Pooling, key_mask, masked_mean
from trainables.spec.student import AudioTextTransformer
from trainables.students import StudentOutput, build_student
from trainables.students.audio_text import AudioTextStudent
from trainables.transfer_set import TransferSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


def student_of(data: TransferSet, **spec: Any) -> AudioTextStudent:
    student = build_student(small_run(student=spec).student, data, seed=0).eval()
    assert isinstance(student, AudioTextStudent)
    return student


def everything(output: StudentOutput) -> list[Tensor]:
    return [
        output.logits,
        output.embedding,
        *output.pooled.values(),
        *output.crossed.values(),
        *output.attention.values(),
    ]


VARIANTS: list[dict[str, Any]] = [
    {},
    {"pooling": "attention", "self_layers": 2, "cross_layers": 2},
    {"audio_stride": 2},
    {"audio_stride": 8},
    {"modalities": ["text"]},
    {"modalities": ["audio"], "pooling": "attention"},
]


@pytest.mark.parametrize("spec", VARIANTS)
def test_shapes(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    output = student(Batcher(data, student.spec).batch(np.arange(5)), attention=4)
    both = len(student.modalities) == 2
    assert output.logits.shape == (5, 7)
    assert list(output.pooled) == list(student.modalities)
    assert list(output.crossed) == (list(student.modalities) if both else [])
    assert all(x.shape == (5, 16) for x in [*output.pooled.values(), *output.crossed.values()])
    assert all(x.shape == (5, 4, 4) for x in output.attention.values())
    assert len(output.attention) == len(student.modalities)


@pytest.mark.parametrize("spec", VARIANTS)
def test_one_at_a_time_equals_batched(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batcher = Batcher(data, student.spec)
    rows = np.arange(4)
    batched = everything(student(batcher.batch(rows), attention=4))
    single = [everything(student(batcher.batch(rows[i : i + 1]), attention=4)) for i in range(4)]
    for whole, parts in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(list(parts)), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", VARIANTS)
def test_what_the_padding_holds_never_shows(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = Batcher(data, student.spec).batch(np.arange(6))
    before = everything(student(batch, attention=4))
    after = everything(student(longer(batch), attention=4))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_later_words_reach_earlier_ones(data: TransferSet) -> None:
    """No causal mask: with the first token pooled alone, the last one still matters."""
    student = student_of(data, modalities=["text"])
    batch = Batcher(data, AudioTextTransformer(modalities=("text",))).batch(np.array([3]))
    x = student.text(batch.streams["text"].values)
    changed = batch.streams["text"].values.clone()
    changed[0, -1] = (changed[0, -1] + 1) % 30
    keys = key_mask(batch.streams["text"].mask)
    first = student.within["text"](x, keys)[0][0, 0]
    second = student.within["text"](student.text(changed), keys)[0][0, 0]
    assert (first - second).abs().max() > 1e-4


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_each_stream_hears_the_other(data: TransferSet, modality: str) -> None:
    student = student_of(data)
    batch = Batcher(data, AudioTextTransformer(modalities=("audio", "text"))).batch(np.arange(2))
    if modality == "audio":
        other = with_values(batch, "text", (batch.streams["text"].values + 1) % 30)
    else:
        other = with_values(batch, "audio", -batch.streams["audio"].values)
    difference = student(batch).crossed[modality] - student(other).crossed[modality]
    assert difference.abs().max() > 1e-4


def test_a_row_without_any_valid_step_stays_finite(data: TransferSet) -> None:
    student = student_of(data, pooling="attention").train()
    batch = Batcher(data, AudioTextTransformer(modalities=("audio", "text"))).batch(np.arange(3))
    output = student(without_steps(batch, 1), attention=4)
    output.logits.sum().backward()
    assert all(torch.isfinite(x).all() for x in everything(output))
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in student.parameters())


def test_halving_convolution_is_torchs() -> None:
    ours, theirs = HalvingConv(5, 6), nn.Conv1d(5, 6, kernel_size=3, stride=2, padding=1)
    with torch.no_grad():
        ours.linear.weight.copy_(theirs.weight.permute(0, 2, 1).reshape(6, 15))
        ours.linear.bias.copy_(theirs.bias)  # type: ignore[arg-type]
    for length in (1, 2, 7, 8):
        x = torch.randn(3, length, 5)
        torch.testing.assert_close(ours(x), theirs(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize(("stride", "length", "expected"), [(2, 5, 3), (4, 5, 2), (8, 9, 2), (8, 8, 1)])
def test_masks_shrink_with_the_frames(data: TransferSet, stride: int, length: int, expected: int) -> None:
    student = student_of(data, modalities=["audio"], audio_stride=stride)
    mask = torch.arange(24)[None] < length
    x, shrunk = student.audio(torch.randn(1, 24, 8) * mask[..., None], mask)
    assert x.shape[1] == shrunk.shape[1] == 24 // stride
    assert int(shrunk.sum()) == expected


def test_masked_mean_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[5.0], [7.0], [9.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(x, mask).tolist() == [[2.0], [0.0]]


def test_attention_pooling_weighs_by_softmax() -> None:
    pool = Pooling(1, "attention")
    assert pool.score is not None
    nn.init.ones_(pool.score.weight)
    nn.init.zeros_(pool.score.bias)
    x = torch.tensor([[[0.0], [float(np.log(3))], [50.0]]])
    mask = torch.tensor([[True, True, False]])
    torch.testing.assert_close(pool(x, mask), torch.tensor([[0.75 * float(np.log(3))]]))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_the_rate(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(400, 501)
    dropped = Dropout(p)(x)
    assert abs(float((dropped == 0).float().mean()) - p) < 0.005
    torch.testing.assert_close(dropped[dropped != 0], torch.full_like(dropped[dropped != 0], 1 / (1 - p)))
    assert Dropout(p).eval()(x) is x


def test_sinusoids_by_hand() -> None:
    table = sinusoids(3, 4)
    expected = [[np.sin(i), np.sin(i * 1e-4), np.cos(i), np.cos(i * 1e-4)] for i in range(3)]
    np.testing.assert_allclose(table.numpy(), expected, atol=1e-6)


def test_a_longer_utterance_than_the_table_grows_it() -> None:
    embedding = TokenEmbedding(3, 2, 4, 0.0).eval()
    long = embedding(torch.zeros(1, 700, dtype=torch.int64))
    torch.testing.assert_close(long[:, :5], embedding(torch.zeros(1, 5, dtype=torch.int64)))


def test_principal_components_are_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    table = np.random.default_rng(0).normal(size=(50, 9)) @ np.diag([9.0, 5, 3, 2, 1, 1, 1, 1, 1]) + 4
    ours = principal_components(torch.from_numpy(table), 3).double().numpy()
    theirs = PCA(3, svd_solver="full").fit_transform(table)
    theirs /= np.sqrt((theirs**2).sum(1).mean())
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-5)
    assert abs((ours**2).sum(1).mean() - 1) < 1e-5


def test_principal_components_have_one_sign_and_pad_with_zeros() -> None:
    table = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    ours = principal_components(table, 5)
    assert ours.shape == (20, 5) and not ours[:, 3:].any()
    torch.testing.assert_close(principal_components(table[torch.arange(19, -1, -1)], 5).flip(0), ours)


def test_the_table_starts_as_the_teachers_components(data: TransferSet) -> None:
    student = student_of(data, token_init="teacher")
    assert data.token_table is not None
    expected = principal_components(torch.from_numpy(np.array(data.token_table)), 8)
    torch.testing.assert_close(student.text.table.weight.detach(), expected)
    with pytest.raises(ArtifactError, match="no token table"):
        student_of(replace(data, token_table=None), token_init="teacher")


def test_the_same_seed_gives_the_same_student_and_leaves_torch_alone(data: TransferSet) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    spec = small_run().student
    a, b, c = (build_student(spec, data, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(a.parameters(), c.parameters(), strict=True))


def test_parameters_of_a_text_student_by_hand(data: TransferSet) -> None:
    student = student_of(data, modalities=["text"])  # width 16, one block, table 30 x 8
    attention = (16 * 16 + 16) * 4
    feedforward = 16 * 64 + 64 + 64 * 16 + 16
    embedding = 30 * 8 + 8 * 16 + 32 + 1
    classifier = 2 * (16 * 16 + 16) + 16 * 7 + 7
    assert count_parameters(student) == embedding + attention + feedforward + 2 * 32 + 32 + classifier
