"""Batches: every row once, the same for the same seed and epoch, whatever the number of workers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainables.teachers.data import AudioSource, epoch_batches, length_batches, padded, prefetched, split_rows
from trainables.teachers.encoders import WaveRules
from trainables.teachers.heads import Inputs
from trainables.teachers.running import coarsened

LENGTHS = np.random.default_rng(0).uniform(1, 100, 1000)


def test_an_epoch_holds_every_row_once() -> None:
    batches = epoch_batches(LENGTHS, 32, 0, 1)
    assert sorted(np.concatenate(batches).tolist()) == list(range(1000))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_batches(LENGTHS, 32, 0, 3)
    again = epoch_batches(LENGTHS, 32, 0, 3)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert np.concatenate(first).tolist() != np.concatenate(epoch_batches(LENGTHS, 32, 0, 4)).tolist()
    assert np.concatenate(first).tolist() != np.concatenate(epoch_batches(LENGTHS, 32, 1, 3)).tolist()


def test_buckets_waste_little_padding() -> None:
    def waste(batches: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> float:
        return float(sum(LENGTHS[b].max() * len(b) for b in batches) / LENGTHS.sum())

    assert waste(epoch_batches(LENGTHS, 32, 0, 1)) < 1.1
    assert waste(length_batches(LENGTHS, 32)) < 1.1


@pytest.mark.parametrize(("world", "microbatch"), [(1, None), (2, None), (3, 2), (8, 1)])
def test_workers_share_a_batch_without_overlap(world: int, microbatch: int | None) -> None:
    batch = np.arange(10, 17)
    shares = [split_rows(batch, rank, world, microbatch) for rank in range(world)]
    assert sorted(int(r) for share in shares for piece in share for r in piece) == batch.tolist()
    assert all(len(piece) <= (microbatch or 7) for share in shares for piece in share)


def test_padding_and_its_mask() -> None:
    values, mask = padded([torch.tensor([1, 2, 3]), torch.tensor([4])], 9)
    assert values.tolist() == [[1, 2, 3], [4, 9, 9]]
    assert mask.tolist() == [[True, True, True], [True, False, False]]


def test_prefetching_keeps_the_order() -> None:
    def collate(rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Inputs:
        return Inputs(torch.from_numpy(rows), torch.ones(len(rows), dtype=torch.bool))

    found = list(prefetched(collate, [np.arange(i, i + 2) for i in range(5)]))
    assert [rows.tolist() for rows, _ in found] == [inputs.values.tolist() for _, inputs in found]
    assert [int(rows[0]) for rows, _ in found] == [0, 1, 2, 3, 4]


def test_a_missing_clip_is_silence_and_a_normalised_wave_has_unit_variance() -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(0).normal(0.2, 0.1, 8000), 16_000, format="FLAC")
    source = AudioSource([buffer.getvalue(), None], WaveRules(normalise=True, mask=True), 0.4)
    assert source.lengths.tolist() == [8000, 6400]
    inputs = source.collate(np.asarray([0, 1]))
    assert float(inputs.values[0].mean()) == pytest.approx(0, abs=1e-5)
    assert float(inputs.values[0].std()) == pytest.approx(1, abs=1e-3)
    assert not inputs.values[1].any() and inputs.mask.sum(1).tolist() == [8000, 6400]


@pytest.mark.parametrize(("frames", "seconds", "expected"), [(100, 2.0, 20), (5, 2.0, 5), (20, 0.01, 1)])
def test_coarse_frames_are_ten_a_second_and_keep_the_mean(frames: int, seconds: float, expected: int) -> None:
    sequence = torch.arange(frames, dtype=torch.float32)[:, None]
    coarse = coarsened(sequence, seconds)
    assert len(coarse) == expected
    assert float(coarse.mean()) == pytest.approx(float(sequence.mean()))
