"""The fusion teacher: both streams count, padding does not."""

from __future__ import annotations

import torch

from trainables.spec import CoAttentionFusion
from trainables.teachers.data import FeatureSource
from trainables.teachers.fusion import FusionModel

SPEC = CoAttentionFusion(width=8, heads=2)


def model_and_source() -> tuple[FusionModel, FeatureSource]:
    torch.manual_seed(0)
    audio = [torch.randn(6, 5), torch.randn(3, 5)]
    text = [torch.randn(2, 4), torch.randn(4, 4)]
    return FusionModel({"audio": 5, "text": 4}, 3, SPEC).eval(), FeatureSource({"audio": audio, "text": text})


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers)


def test_pooled_joins_both_streams_and_padding_changes_nothing() -> None:
    model, source = model_and_source()
    together = model(source.collate(rows(0, 1).numpy()))
    assert together.pooled.shape == (2, 16) and model.width == 16
    for row in (0, 1):
        alone = model(source.collate(rows(row).numpy()))
        assert torch.allclose(together.logits[row], alone.logits[0], atol=1e-5)


def test_each_stream_changes_the_other_s_half() -> None:
    model, source = model_and_source()
    inputs = source.collate(rows(0).numpy())
    before = model(inputs).pooled[0]
    inputs.streams["text"][0].mul_(-1)
    after = model(inputs).pooled[0]
    assert (before[:8] - after[:8]).abs().max() > 1e-4
    assert (before[8:] - after[8:]).abs().max() > 1e-4
