"""Log-mel frames and the student's vocabulary."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trainables.features import PAD_ID, POWER_FLOOR, UNK_ID, build_vocabulary, log_mel, pieces_of
from trainables.spec import FeaturesSpec
from trainables.teachers.scratch import train_tokenizer

SPEC = FeaturesSpec()
TEXTS = ["the cat sat", "the dog sat", "a cat ran home"]


def tone(hertz: float, level: float = 0.5, seconds: float = 0.5) -> torch.Tensor:
    time = torch.arange(int(seconds * 16_000)) / 16_000
    return level * torch.sin(2 * math.pi * hertz * time)


@pytest.mark.parametrize("seconds", [0.4, 1.0, 1.234])
def test_one_frame_every_hop(seconds: float) -> None:
    samples = int(seconds * 16_000)
    assert log_mel(torch.zeros(samples), SPEC).shape == (1 + samples // 160, 80)


def test_silence_is_the_floor() -> None:
    assert torch.allclose(log_mel(torch.zeros(6400), SPEC), torch.tensor(math.log(POWER_FLOOR)))


def test_a_higher_tone_lies_in_a_higher_band() -> None:
    loudest = [int(log_mel(tone(f), SPEC)[25].argmax()) for f in (200.0, 800.0, 3000.0, 7000.0)]
    assert loudest == sorted(loudest) and len(set(loudest)) == 4


def test_twice_the_amplitude_is_log_four_of_power() -> None:
    low, high = log_mel(tone(1000, 0.2), SPEC)[25].max(), log_mel(tone(1000, 0.4), SPEC)[25].max()
    assert float(high - low) == pytest.approx(math.log(4), abs=1e-3)


def test_every_band_has_a_bin() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=16_000)).float()
    assert (log_mel(noise, SPEC).mean(0) > math.log(POWER_FLOOR) + 3).all()


def test_the_train_vocabulary_holds_train_pieces_only() -> None:
    tokenizer = train_tokenizer([*TEXTS, "zebra zebra quagga"], 200)
    vocabulary = build_vocabulary(tokenizer, TEXTS, SPEC)
    assert vocabulary.pieces[:2] == (tokenizer.pad_token_id, tokenizer.unk_token_id)
    assert len(vocabulary) < len(tokenizer)
    seen, unseen = (vocabulary.encode(p, 64) for p in pieces_of(tokenizer, ["the cat", "zebra"]))
    assert [vocabulary.pieces[i] for i in seen] == pieces_of(tokenizer, ["the cat"])[0]
    assert set(unseen.tolist()) == {UNK_ID} and PAD_ID not in seen


def test_the_teacher_vocabulary_is_the_identity() -> None:
    tokenizer = train_tokenizer(TEXTS, 200)
    vocabulary = build_vocabulary(tokenizer, TEXTS, SPEC.model_copy(update={"vocabulary": "teacher"}))
    assert vocabulary.encode([7, 9], 64).tolist() == [7, 9]
    assert len(vocabulary) == len(tokenizer)


@pytest.mark.parametrize(("pieces", "length"), [([], 1), ([5] * 80, 64)])
def test_tokens_are_never_empty_nor_too_long(pieces: list[int], length: int) -> None:
    vocabulary = build_vocabulary(train_tokenizer(TEXTS, 200), TEXTS, SPEC)
    assert len(vocabulary.encode(pieces, 64)) == length
