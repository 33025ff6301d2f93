"""S5's network: what it averages, what it ignores, and how large it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from tests.helpers.batches import longer, without_steps
from tests.helpers.students import run_of
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batcher
from trainables.encoders import principal_components, resampled
from trainables.errors import ArtifactError
from trainables.evaluation import count_parameters, mc_predict
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec.student import CnnLstm
from trainables.students import Sizes, StudentOutput, build_student, make_student
from trainables.students.cnn_lstm import CnnLstmStudent
from trainables.transfer_set import TransferSet

VARIANTS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True},
    {"modalities": ["audio"]},
    {"modalities": ["text"]},
    {"modalities": ["text"], "bidirectional": True},
    {"frames": 50, "blocks": 6},
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


def student_of(data: TransferSet, **spec: Any) -> CnnLstmStudent:
    student = build_student(run_of({"type": "cnn_lstm", **spec}, {"type": "supervised"}).student, data, 0).eval()
    assert isinstance(student, CnnLstmStudent)
    return student


def everything(output: StudentOutput) -> list[Tensor]:
    return [output.logits, output.embedding, *output.pooled.values()]


def test_the_authors_sizes_without_their_word_vectors() -> None:
    """128 bands and 128 frames: 8 x 8 x 8 = 512; text 200; 712 together (methods reference, section 5)."""
    spec = CnnLstm(token_width=300)
    student = make_student(spec, Sizes(classes=4, streams={"audio": ("log_mel", 128), "text": ("tokens", 100)}))
    assert student.widths.pooled == {"audio": 512, "text": 200}
    assert student.widths.embedding == 712 and student.widths.crossed == {}
    convolutions = (9 * 1 + 1) * 8 + 3 * (9 * 8 + 1) * 8
    lstm = 4 * 200 * (300 + 200 + 2)
    assert count_parameters(student) == convolutions + 100 * 300 + lstm + 712 * 4 + 4
    assert 0.40e6 < count_parameters(student) - 100 * 300 < 0.41e6


@pytest.mark.parametrize("spec", VARIANTS)
def test_shapes(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    output = student(Batcher(data, student.spec).batch(np.arange(5)), attention=4)
    assert output.logits.shape == (5, 7)
    assert {m: x.shape[1] for m, x in output.pooled.items()} == student.widths.pooled
    assert output.embedding.shape == (5, student.widths.embedding)
    assert not output.attention and not output.crossed and output.members is None


@pytest.mark.parametrize("spec", VARIANTS)
def test_one_at_a_time_equals_batched(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batcher, rows = Batcher(data, student.spec), np.arange(6)
    batched = everything(student(batcher.batch(rows)))
    single = [everything(student(batcher.batch(rows[i : i + 1]))) for i in range(6)]
    for whole, parts in zip(batched, zip(*single, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(list(parts)), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", VARIANTS)
def test_what_the_padding_holds_never_shows(data: TransferSet, spec: dict[str, Any]) -> None:
    student = student_of(data, **spec)
    batch = Batcher(data, student.spec).batch(np.arange(6))
    for a, b in zip(everything(student(batch)), everything(student(longer(batch, noisy_frames=True))), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("frames", "steps"), [(20, 5), (23, 7), (3, 8), (1, 4), (8, 8)])
def test_resampling_is_torchs_adaptive_pooling(frames: int, steps: int) -> None:
    x = torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(30)[None] < torch.tensor([[frames], [30]])
    expected = [F.adaptive_avg_pool1d(row[:n].T[None], steps)[0].T for row, n in zip(x, (frames, 30), strict=True)]
    torch.testing.assert_close(resampled(x, mask, steps), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_the_words_are_attended_to_from_the_last_state(data: TransferSet) -> None:
    student = student_of(data, modalities=["text"])
    batch = Batcher(data, student.spec).batch(np.array([3]))
    states, (last, _) = student.text.lstm(student.text.table(batch.streams["text"].values))
    weights = (states[0] @ last[0, 0]).softmax(dim=0)
    expected = (weights[:, None] * states[0]).sum(dim=0)
    torch.testing.assert_close(student.text(batch.streams["text"].values, batch.streams["text"].mask)[0], expected)


def test_a_row_without_any_valid_step_stays_finite(data: TransferSet) -> None:
    student = student_of(data).train()
    batch = Batcher(data, student.spec).batch(np.arange(3))
    output = student(without_steps(batch, 1))
    output.logits.sum().backward()
    assert all(torch.isfinite(x).all() for x in everything(output))
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in student.parameters())


@pytest.mark.parametrize(("modalities", "expected"), [(["audio", "text"], 0.3), (["audio"], 0.6), (["text"], 0.2)])
def test_dropout_is_the_modalitys_own_where_there_is_one(
    data: TransferSet, modalities: list[str], expected: float
) -> None:
    student = student_of(data, modalities=modalities, dropout=0.3, audio_dropout=0.6, text_dropout=0.2)
    assert student.dropout.p == expected


def test_blanked_words_change_training_alone(data: TransferSet) -> None:
    student = student_of(data, modalities=["text"], word_dropout=0.9)
    batch = Batcher(data, student.spec).batch(np.arange(8))
    plain = student.text(batch.streams["text"].values, batch.streams["text"].mask)
    torch.testing.assert_close(student.text(batch.streams["text"].values, batch.streams["text"].mask), plain)
    assert not torch.allclose(student.train().text(batch.streams["text"].values, batch.streams["text"].mask), plain)


@pytest.mark.parametrize("training", ["trained", "frozen"])
def test_the_table_starts_as_the_teachers_components(data: TransferSet, training: str) -> None:
    student = student_of(data, token_init="teacher", token_training=training)
    assert data.token_table is not None
    expected = principal_components(torch.from_numpy(np.array(data.token_table)), 8)
    torch.testing.assert_close(student.text.table.weight.detach(), expected)
    assert student.text.table.weight.requires_grad == (training == "trained")
    with pytest.raises(ArtifactError, match="no token table"):
        student_of(replace(data, token_table=None), token_init="teacher")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_learns_what_the_corpus_holds(data: TransferSet, precision: str) -> None:
    """Seven classes, all of them audible and legible: chance is a weighted F1 of about .14."""
    run = run_of(
        {"type": "cnn_lstm", "dropout": 0.1},
        {"type": "supervised"},
        training={"epochs": 15, "learning_rate": 0.02, "precision": precision},
    )
    assert train(run, data, ListReporter(), threads=1).score > 0.6


def test_dropout_is_what_uncertainty_samples(data: TransferSet) -> None:
    drawn = mc_predict(student_of(data), data, "dev", passes=3, seed=0)
    assert drawn.shape == (3, 28, 7)
    assert np.ptp(drawn, axis=0).max() > 1e-3
