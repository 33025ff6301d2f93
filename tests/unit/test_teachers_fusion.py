"""The fusion teachers: every stream counts, padding does not."""

from __future__ import annotations

import math

import pytest
import torch

from trainables.spec import CoAttentionFusion
from trainables.spec.base import MODALITIES, Modality
from trainables.teachers.data import FeatureSource
from trainables.teachers.fusion import CoAttention, FusionModel
from trainables.teachers.heads import FusionInputs
from trainables.teachers.multi_level import mean_of_sigmoids

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


def test_two_streams_are_drawn_in_order_and_see_each_other_as_they_were() -> None:
    """The same numbers for audio and text as blocks that are written out for two give from the same seed."""
    spec = CoAttentionFusion(width=8, heads=2, layers=2, dropout=0.0)
    torch.manual_seed(0)
    model = FusionModel({"audio": 5, "text": 4}, 3, spec).eval()
    torch.manual_seed(0)
    audio_in, text_in = (torch.nn.Sequential(torch.nn.LayerNorm(d), torch.nn.Linear(d, 8)) for d in (5, 4))
    audio_1, audio_2, text_1, text_2 = (CoAttention(8, 2, 0.0).eval() for _ in range(4))
    audio, text = torch.randn(1, 6, 5), torch.randn(1, 3, 4)
    masks = [torch.ones(1, length, dtype=torch.bool) for length in (6, 3)]
    a, t = audio_in(audio), text_in(text)
    a, t = audio_1(a, t, masks[1]), text_1(t, a, masks[0])
    a, t = audio_2(a, t, masks[1]), text_2(t, a, masks[0])
    found = model(FusionInputs({"audio": (audio, masks[0]), "text": (text, masks[1])}))
    assert torch.allclose(found.pooled, torch.cat([a.mean(1), t.mean(1)], dim=1), atol=1e-6)


def three() -> tuple[FusionModel, FeatureSource]:
    torch.manual_seed(0)
    lengths = {"audio": (6, 3), "text": (2, 4), "visual": (1, 3)}
    widths: dict[Modality, int] = {"audio": 5, "text": 4, "visual": 7}
    streams: dict[Modality, list[torch.Tensor]] = {
        m: [torch.randn(length, widths[m]) for length in lengths[m]] for m in widths
    }
    return FusionModel(widths, 3, SPEC).eval(), FeatureSource(streams)


def test_each_of_three_streams_changes_every_third_and_padding_nothing() -> None:
    model, source = three()
    model.requires_grad_(False)
    whole = model(source.collate(rows(0, 1).numpy()))
    assert whole.pooled.shape == (2, 24) == (2, model.width)
    for row in (0, 1):
        alone = model(source.collate(rows(row).numpy()))
        assert torch.allclose(whole.logits[row], alone.logits[0], atol=1e-5)
    for modality in MODALITIES:
        inputs = source.collate(rows(0).numpy())
        inputs.streams[modality][0].mul_(-1)
        changed = (model(inputs).pooled[0] - whole.pooled[0]).abs().view(3, 8).amax(1)
        assert float(changed.min()) > 1e-4, modality


def test_three_streams_read_the_others_end_to_end() -> None:
    """The first block by hand: its keys are the text's and the pictures' steps in one sequence."""
    model, source = three()
    inputs = source.collate(rows(1).numpy())
    audio, text, visual = (model.project[m](inputs.streams[m][0]) for m in MODALITIES)
    other = torch.cat([text, visual], dim=1)
    blocks = model.blocks["audio"]
    assert isinstance(blocks, torch.nn.ModuleList) and len(blocks) == 1
    expected = blocks[0](audio, other, torch.ones(1, 7, dtype=torch.bool)).mean(1)
    assert torch.allclose(model(inputs).pooled[:, :8], expected, atol=1e-6)


def test_the_mean_of_sigmoids_is_the_mean_of_the_members_probabilities() -> None:
    members = torch.tensor([[[0.0, 3.0, -60.0], [2.0, -1.0, -70.0]]])
    found = mean_of_sigmoids(members)
    assert torch.allclose(found.sigmoid(), members.sigmoid().mean(1), atol=1e-6)
    assert found[0, 2].item() == pytest.approx(-60 - math.log(2), abs=1e-3)  # finite where a float32 mean is 0
