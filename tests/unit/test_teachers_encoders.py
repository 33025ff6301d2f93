"""The rules of wav2vec 2.0 on masks, normalisation and freezing; what a checkpoint must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.teachers import bert_checkpoint, wav2vec_checkpoint
from trainables.errors import CheckpointError
from trainables.spec import Pretrained, Scratch
from trainables.teachers.data import TextSource, padded
from trainables.teachers.encoders import WaveRules, frame_mask, make_encoder
from trainables.teachers.heads import EncoderModel, Inputs, masked_mean


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # the variable is read once, at import


def audio_model(folder: Path, norm: str, **preprocessor: Any) -> EncoderModel:
    spec = Pretrained(checkpoint=str(wav2vec_checkpoint(folder, norm, **preprocessor)))
    return EncoderModel(make_encoder("audio", spec, [], 0), 3, 0.0, True).eval()


@pytest.mark.parametrize(
    ("norm", "preprocessor", "rules"),
    [
        ("group", {}, WaveRules(normalise=False, mask=False)),
        ("layer", {}, WaveRules(normalise=True, mask=True)),
        ("group", {"do_normalize": True}, WaveRules(normalise=True, mask=False)),
        ("layer", {"do_normalize": False}, WaveRules(normalise=False, mask=True)),
    ],
)
def test_wave_rules(tmp_path: Path, norm: str, preprocessor: dict[str, Any], rules: WaveRules) -> None:
    assert audio_model(tmp_path, norm, **preprocessor).loaded.wave == rules


def test_base_gets_no_mask_and_large_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for norm, passes in (("group", False), ("layer", True)):
        model = audio_model(tmp_path / norm, norm)
        seen: list[bool] = []
        forward = model.loaded.model.forward

        def spy(*args: Any, seen: list[bool] = seen, forward: Any = forward, **kwargs: Any) -> Any:
            seen.append(kwargs["attention_mask"] is not None)
            return forward(*args, **kwargs)

        monkeypatch.setattr(model.loaded.model, "forward", spy)
        model(Inputs(*padded([torch.randn(3000), torch.randn(1000)])))
        assert seen == [passes]


def test_padding_is_left_out_of_the_pool(tmp_path: Path) -> None:
    model = audio_model(tmp_path, "layer")
    waves = [torch.randn(6400), torch.randn(3200)]
    together = model(Inputs(*padded(waves)))
    alone = model(Inputs(*padded(waves[1:])))
    assert together.mask.sum(1).tolist()[1] == alone.mask.sum().item() < together.mask.shape[1]
    assert torch.allclose(together.pooled[1], alone.pooled[0], atol=1e-5)


def test_the_mask_is_down_sampled(tmp_path: Path) -> None:
    model = audio_model(tmp_path, "group").loaded.model
    _, samples = padded([torch.zeros(16_000), torch.zeros(400 + 160 * 2), torch.zeros(1200)])
    frames = int(model._get_feat_extract_output_lengths(16_000))
    assert frame_mask(model, frames, samples).sum(1).tolist() == [frames, 1, 2]


def test_the_front_end_of_a_pretrained_model_is_frozen_and_of_a_scratch_one_is_not(tmp_path: Path) -> None:
    frozen = audio_model(tmp_path, "group").loaded.model.feature_extractor
    assert not any(p.requires_grad for p in frozen.parameters())
    scratch = EncoderModel(make_encoder("audio", Scratch(width=16, layers=1), [], 0), 3, 0.0, True)
    assert all(p.requires_grad for p in scratch.loaded.model.feature_extractor.parameters())


def test_no_augmentation_so_that_short_clips_can_be_trained_on(tmp_path: Path) -> None:
    model = audio_model(tmp_path, "layer").train()
    output = model(Inputs(*padded([torch.randn(1040)])))
    assert output.mask.sum() == 2 and torch.isfinite(output.logits).all()
    assert model.loaded.model.config.layerdrop == 0


def test_layer_weighting_starts_as_the_mean_of_all_layers(tmp_path: Path) -> None:
    encoder = make_encoder("text", Pretrained(checkpoint=str(bert_checkpoint(tmp_path))), [], 0)
    source = TextSource(["happy words", "plain words number"], encoder)
    inputs = source.collate(torch.arange(2).numpy())
    model = EncoderModel(encoder, 3, 0.0, True).eval()
    states = encoder.model.eval()(
        inputs.values, attention_mask=inputs.mask.long(), output_hidden_states=True
    ).hidden_states
    expected = masked_mean(torch.stack(states).mean(0), inputs.mask)
    assert torch.allclose(model(inputs).pooled, expected, atol=1e-5)


def test_wrong_kind_and_absent_checkpoints_say_what_to_give(tmp_path: Path) -> None:
    bert = Pretrained(checkpoint=str(bert_checkpoint(tmp_path / "bert")))
    with pytest.raises(CheckpointError, match="cannot be the audio teacher; give wav2vec"):
        make_encoder("audio", bert, [], 0)
    with pytest.raises(CheckpointError, match=r"HF_HOME.*run\.teachers\.text\.encoder\.checkpoint=DIR"):
        make_encoder("text", Pretrained(checkpoint="nobody/no-such-model"), [], 0)


def test_the_same_texts_give_the_same_scratch_encoder() -> None:
    texts = ["one two three", "two three four"] * 5
    first, again = (make_encoder("text", Scratch(width=16, layers=1), texts, 3) for _ in range(2))
    assert first.tokenizer.get_vocab() == again.tokenizer.get_vocab()
    pairs = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
