"""What is absent is nothing, says so, and every student lives with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.helpers.transfer_sets import synthetic
from trainables.absence import drawn, only, without
from trainables.batching import Batch, Batcher
from trainables.spec.base import MODALITIES, Modality
from trainables.spec.student import CrossModalTransformer, MultiLevelFusion
from trainables.transfer_set import TransferSet

SPEC = CrossModalTransformer(modalities=("audio", "text", "visual"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TransferSet:
    return synthetic(tmp_path_factory.mktemp("data"), modalities=MODALITIES, frames=True, segments=True)


@pytest.fixture
def batch(data: TransferSet) -> Batch:
    return Batcher(data, SPEC).batch(np.arange(20, 24))


def rows(*which: int) -> torch.Tensor:
    return torch.tensor([i in which for i in range(4)])


@pytest.mark.parametrize(("modality", "padding"), [("audio", 0), ("text", 7), ("visual", 0)])
def test_an_absent_row_is_one_step_of_nothing_and_the_others_stay(
    batch: Batch, modality: Modality, padding: int
) -> None:
    changed = without(batch, {modality: rows(1)}, pad_id=7)
    before, after = batch.streams[modality], changed.streams[modality]
    assert after.present.tolist() == [True, False, True, True]
    assert (after.values[1] == padding).all() and after.mask[1].tolist() == [True] + [False] * (
        after.mask.shape[1] - 1
    )
    kept = torch.tensor([0, 2, 3])
    assert torch.equal(before.values[kept], after.values[kept]) and torch.equal(before.mask[kept], after.mask[kept])
    for other in set(MODALITIES) - {modality}:
        assert changed.streams[other] is batch.streams[other]


def test_the_teachers_sequences_and_segments_go_with_their_modality(data: TransferSet) -> None:
    spec = MultiLevelFusion(levels=("frame", "word"))
    batch = Batcher(data, spec).batch(np.arange(20, 24))
    changed = without(batch, {"audio": rows(0, 2)}, pad_id=0)
    frames, mask = changed.teachers["audio"].frames, changed.teachers["audio"].frame_mask
    assert frames is not None and mask is not None
    assert not frames[0].any() and mask.sum(dim=1)[[0, 2]].tolist() == [1, 1]
    assert changed.segments["word"].mask[:, 0].tolist() == [False, True, False, True]
    assert changed.teachers["text"] is batch.teachers["text"]


def test_only_leaves_the_named_modalities(batch: Batch) -> None:
    changed = only(batch, MODALITIES, ("visual",), pad_id=0)
    assert {m: int(s.present.sum()) for m, s in changed.streams.items()} == {"audio": 0, "text": 0, "visual": 4}
    lengths = {m: s.values.shape[1] for m, s in changed.streams.items()}
    assert lengths == {"audio": 1, "text": 1, "visual": batch.streams["visual"].values.shape[1]}
    whole = only(batch, MODALITIES, MODALITIES, pad_id=0)
    assert whole.streams == batch.streams


def test_some_modality_always_stays(batch: Batch) -> None:
    chance = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.1, 0.9], [0.1, 0.9, 0.2], [0.3, 0.2, 0.1]])
    found = drawn(batch, MODALITIES, chance, p=0.5)
    gone = torch.stack([found[m] for m in MODALITIES], dim=1)
    assert gone.tolist() == [
        [True, True, False],  # all would go: the greatest draw stays
        [False, True, False],
        [True, False, True],
        [False, True, True],
    ]


def test_what_a_row_lacks_is_no_reason_to_stay(batch: Batch) -> None:
    audio = batch.streams["audio"]
    lacking = replace(batch, streams={**batch.streams, "audio": replace(audio, present=rows(1, 2, 3))})
    chance = torch.full((4, 3), 0.1)
    chance[:, 0] = 0.4  # the audio would stay wherever it is there
    found = drawn(lacking, MODALITIES, chance, p=0.5)
    assert found["audio"].tolist() == [False, False, False, False]
    left = torch.stack([s.present & ~found[m] for m, s in lacking.streams.items()], dim=1)
    assert left.sum(dim=1).tolist() == [1, 1, 1, 1]


def test_how_often_a_modality_goes(batch: Batch) -> None:
    many = replace(batch, index=torch.zeros(20_000, dtype=torch.int64), streams={})
    chance = torch.from_numpy(np.random.default_rng(0).random((20_000, 2)))
    found = drawn(many, ("audio", "text"), chance, p=0.3)
    share = torch.stack(list(found.values())).double().mean(dim=1)
    assert ((share - (0.3 - 0.3 * 0.3 / 2)).abs() < 0.01).all()
