from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.batches import row_of, with_stream
from tests.helpers.transfer_sets import synthetic
from trainables.batching import Batcher, epoch_batches, sorted_batches
from trainables.errors import ArtifactError
from trainables.spec.needs import Needs
from trainables.spec.student import AudioTextTransformer, MultiLevelFusion
from trainables.students import build_student
from trainables.transfer_set import Segments, TransferSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"))


def test_a_batch_holds_each_row_as_stored_and_zeros_after_it(data: TransferSet) -> None:
    rows = np.array([5, 2, 99, 2])
    batch = Batcher(
        data, AudioTextTransformer(modalities=("audio", "text")), Needs(logits=True), ("fusion",)
    ).batch(rows)
    for i, row in enumerate(rows):
        frames, tokens = row_of(data, "audio", row), row_of(data, "text", row)
        assert batch.streams["audio"].mask[i].tolist() == [True] * len(frames) + [False] * (
            batch.streams["audio"].values.shape[1] - len(frames)
        )
        np.testing.assert_array_equal(
            batch.streams["audio"].values[i, : len(frames)].numpy(), frames.astype(np.float32)
        )
        assert not batch.streams["audio"].values[i, len(frames) :].any()
        assert batch.streams["text"].values[i][batch.streams["text"].mask[i]].tolist() == tokens.tolist()
        assert (batch.streams["text"].values[i][~batch.streams["text"].mask[i]] == data.pad_id).all()
    assert int(batch.streams["audio"].mask.sum(1).max()) == batch.streams["audio"].values.shape[1]
    np.testing.assert_array_equal(batch.labels.numpy(), data.label[rows])
    np.testing.assert_array_equal(batch.text_hash.numpy(), data.text_hash[rows])
    np.testing.assert_array_equal(
        batch.teachers["fusion"].pooled.numpy(), data.teachers["fusion"].pooled[rows].astype(np.float32)
    )
    assert batch.weights.tolist() == [1.0] * 4


def test_one_modality_reads_only_that(data: TransferSet) -> None:
    batch = Batcher(data, AudioTextTransformer(modalities=("text",))).batch(np.arange(3))
    assert list(batch.streams) == ["text"] and not batch.teachers


def test_weights_are_picked_by_row(data: TransferSet) -> None:
    weights = np.arange(len(data), dtype=np.float32)
    assert Batcher(data, AudioTextTransformer(modalities=("text",))).batch(
        np.array([7, 3]), weights
    ).weights.tolist() == [7.0, 3.0]


def test_a_batch_moves_whole(data: TransferSet) -> None:
    batch = (
        Batcher(data, AudioTextTransformer(modalities=("audio", "text")), Needs(logits=True), ("text",))
        .batch(np.arange(2))
        .to("meta")
    )
    assert (
        batch.labels.is_meta and batch.streams["audio"].values is not None and batch.streams["audio"].values.is_meta
    )
    assert batch.teachers["text"].logits.is_meta and batch.teachers["text"].attention is None


@pytest.mark.parametrize(
    ("teachers", "needs", "message"),
    [
        (("nobody",), Needs(logits=True), "no outputs of the nobody teacher"),
        (("text",), Needs(attention=True), "no attention maps of the text teacher"),
    ],
)
def test_what_the_transfer_set_lacks_is_named(
    data: TransferSet, teachers: tuple[str, ...], needs: Needs, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        Batcher(data, AudioTextTransformer(modalities=("text",)), needs, teachers)


def test_missing_features_are_named(data: TransferSet) -> None:
    silent = replace(data, streams={"text": data.streams["text"]})
    with pytest.raises(ArtifactError, match="it has text, and the student reads audio"):
        Batcher(silent, AudioTextTransformer(modalities=("audio",)))


@pytest.mark.parametrize(("count", "size"), [(1, 8), (9, 8), (84, 16), (1000, 32)])
def test_an_epoch_has_every_row_once_in_even_batches(count: int, size: int) -> None:
    rows = np.arange(10, 10 + count)
    batches = epoch_batches(rows, np.arange(2000) % 37, size, seed=1, epoch=1)
    assert sorted(np.concatenate(batches).tolist()) == rows.tolist()
    sizes = [len(b) for b in batches]
    assert max(sizes) <= size and max(sizes) - min(sizes) <= 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    rows, lengths = np.arange(200), np.arange(200) % 37

    def order(seed: int, epoch: int) -> list[int]:
        return [int(i) for i in np.concatenate(epoch_batches(rows, lengths, 16, seed, epoch))]

    first = order(0, 1)
    torch.rand(3), np.random.rand(3)
    assert order(0, 1) == first
    assert len({tuple(o) for o in (first, order(0, 2), order(1, 1))}) == 3


def test_length_buckets_leave_little_padding() -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(9), 0.6, 9989).astype(np.int64), 1, 64)
    rows = np.arange(len(lengths))

    def cells(batches: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> int:
        return sum(len(b) * int(lengths[b].max()) for b in batches)

    plain = np.array_split(rng.permutation(rows), 157)
    bucketed = cells(epoch_batches(rows, lengths, 64, 0, 1))
    assert bucketed / lengths.sum() < 1.25
    assert cells(plain) / bucketed > 2


def test_sorted_batches_are_whole_and_ascending() -> None:
    lengths = np.array([5, 1, 4, 2, 3])
    batches = sorted_batches(np.array([0, 2, 3, 4]), lengths, 3)
    assert np.concatenate(batches).tolist() == [3, 4, 2, 0]


def test_an_empty_sequence_has_an_empty_mask_and_zeros(tmp_path: Path) -> None:
    data = synthetic(tmp_path)
    offsets = np.array(data.streams["audio"].offsets)
    offsets[1] = 0
    empty = with_stream(data, "audio", offsets=offsets)
    heard = Batcher(empty, AudioTextTransformer(modalities=("audio",))).batch(np.array([0])).streams["audio"]
    assert heard.values.shape[1] == 1 and not heard.values.any() and not heard.mask.any()


def test_segments_of_which_no_row_has_any_are_empty(tmp_path: Path) -> None:
    data = synthetic(tmp_path, frames=True, segments=True)
    none = Segments(np.zeros((0, 2), np.int32), np.zeros(len(data) + 1, np.int64))
    spec = MultiLevelFusion(levels=("word",), width=8, heads=2)
    batch = Batcher(replace(data, segments={"word": none}), spec).batch(np.array([5, 2]))
    assert batch.segments["word"].spans.shape == (2, 1, 2) and not batch.segments["word"].mask.any()
    assert torch.isfinite(build_student(spec, data, 0).eval()(batch).logits).all()
