"""Pictures as an image encoder wants them: its checkpoint's rules, which frames, and what stands in for none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from tests.helpers.teachers import bert_checkpoint, image_checkpoint, wav2vec_checkpoint
from trainables.errors import CheckpointError
from trainables.pictures import encode_image
from trainables.spec import Pretrained, Scratch
from trainables.teachers.data import ImageSource, padded
from trainables.teachers.encoders import LoadedEncoder, load_encoder, make_encoder
from trainables.teachers.heads import EncoderModel, Inputs
from trainables.teachers.images import PictureRules, rules_of
from trainables.teachers.scratch import grid_positions, patch_waves
from trainables.teachers.tuning import rows_at_once
from trainables.teachers.utterances import thinned

FAMILIES = ("vit", "deit", "beit", "dinov2", "dinov3_vit", "vit_mae", "clip_vision_model", "siglip_vision_model")


def loaded(folder: Path, family: str = "vit", frames: int = 8, **preprocessor: Any) -> LoadedEncoder:
    spec = Pretrained(checkpoint=str(image_checkpoint(folder, family, **preprocessor)))
    return make_encoder("visual", spec, [], 0, frames=frames)


def squares(*colours: int, side: int = 24) -> list[bytes]:
    return [encode_image(Image.new("RGB", (side, side), (colour,) * 3)) for colour in colours]


IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("processor", "rules"),
    [
        ({}, PictureRules(32)),
        ({"size": 24, "resample": 3}, PictureRules(24, bicubic=True)),
        ({"size": {"height": 40, "width": 40}}, PictureRules(40)),
        ({"size": {"shortest_edge": 36}}, PictureRules(36)),
        ({"size": {"shortest_edge": 36}, "crop_size": 32, "do_center_crop": True}, PictureRules(32)),
        ({"size": 36, "crop_size": {"height": 24, "width": 24}, "do_center_crop": False}, PictureRules(36)),
        (IMAGENET, PictureRules(32, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))),
        (IMAGENET | {"do_normalize": False}, PictureRules(32, (0.0,) * 3, (1.0,) * 3)),
        ({"rescale_factor": 0.5}, PictureRules(32, scale=0.5)),
        ({"do_rescale": False}, PictureRules(32, scale=1.0)),
    ],
)
def test_the_rules_are_the_checkpoint_s_and_last_in_a_stored_teacher(
    tmp_path: Path, processor: dict[str, Any], rules: PictureRules
) -> None:
    encoder = loaded(tmp_path / "start", frames=8, **processor)
    assert encoder.picture == rules
    encoder.save(tmp_path / "tuned")
    assert load_encoder("visual", tmp_path / "tuned").picture == rules


def test_values_are_scaled_and_normed_by_channel() -> None:
    rules = rules_of({"image_mean": [0.0, 0.5, 1.0], "image_std": [1.0, 0.5, 0.25]}, 4, 8)
    picture = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert rules.normalised(picture)[0, :, 0, 0].tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert rules.normalised(picture // 255 * 51)[0, :, 0, 0].tolist() == pytest.approx([0.2, -0.6, -3.2])


@pytest.mark.parametrize("bicubic", [False, True])
def test_a_smaller_picture_is_as_pillow_makes_it(bicubic: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), dtype=np.uint8)
    found = PictureRules(8, bicubic=bicubic).resized(values)[0].permute(1, 2, 0).numpy()
    way = Image.Resampling.BICUBIC if bicubic else Image.Resampling.BILINEAR
    expected = np.asarray(Image.fromarray(values[0]).resize((8, 8), way))
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= 1


def test_frames_thinned_once_are_thinned_for_good() -> None:
    column = pa.array([[bytes([i]) for i in range(10)], None, [b"x"]], type=pa.list_(pa.binary()))
    assert thinned(column, 3).to_pylist() == [[b"\1", b"\5", b"\x08"], None, [b"x"]]
    assert thinned(thinned(column, 3), 3).equals(thinned(column, 3))


def test_a_batch_of_pictures_and_a_black_one_where_there_are_none() -> None:
    source = ImageSource([squares(255, 128, 0), None, squares(*[64] * 9)], PictureRules(16, frames=4))
    assert source.lengths.tolist() == [3, 1, 4]
    inputs = source.collate(np.array([0, 1, 2]))
    assert inputs.values.shape == (3, 4, 3, 16, 16) and inputs.values.dtype == torch.uint8
    assert inputs.mask.sum(1).tolist() == [3, 1, 4]
    assert inputs.values[0, :3].float().mean((1, 2, 3)).tolist() == pytest.approx([255, 128, 0], abs=1)
    assert not inputs.values[1].any() and int(inputs.values[2].min()) == 64


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("weighted", [True, False])
def test_every_encoder_of_its_form_says_a_vector_a_picture(tmp_path: Path, family: str, weighted: bool) -> None:
    """Rows say the same alone as beside longer ones, and what one picture shows is in its own vector alone."""
    model = EncoderModel(loaded(tmp_path, family), 3, 0.0, weighted).eval()
    torch.manual_seed(0)
    rows = [torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8) for count in (3, 1)]
    with torch.no_grad():
        together, alone = model(Inputs(*padded(rows))), model(Inputs(*padded(rows[1:])))
        other = model(Inputs(*padded([torch.cat([rows[0][:2], 255 - rows[0][2:]])])))
    assert together.frames.shape == (2, 3, 16) and together.attention is None
    assert torch.allclose(together.logits[1], alone.logits[0], atol=1e-5)
    assert torch.allclose(together.frames[0, :2], other.frames[0, :2], atol=1e-5)
    assert float((together.frames[0, 2] - other.frames[0, 2]).abs().max()) > 1e-4


def test_the_class_token_speaks_for_a_picture_and_the_last_norm_for_all_layers(tmp_path: Path) -> None:
    encoder = loaded(tmp_path)
    model, picture = EncoderModel(encoder, 3, 0.0, True).eval(), torch.randint(0, 256, (1, 1, 3, 32, 32)).byte()
    assert encoder.picture is not None
    output = encoder.model(encoder.picture.normalised(picture[0]), output_hidden_states=True)
    assert len(output.hidden_states) == encoder.layers == 3
    mean = torch.stack([state[:, 0] for state in output.hidden_states]).mean(0)
    found = model(Inputs(picture, torch.ones(1, 1, dtype=torch.bool))).pooled
    assert torch.allclose(found, encoder.model.layernorm(mean), atol=1e-5)
    last = EncoderModel(encoder, 3, 0.0, False).eval()(Inputs(picture, torch.ones(1, 1, dtype=torch.bool)))
    assert torch.allclose(last.pooled, output.last_hidden_state[:, 0], atol=1e-5)


def test_pictures_of_another_size_than_the_model_s_are_taken(tmp_path: Path) -> None:
    model = EncoderModel(loaded(tmp_path, size=48), 3, 0.0, True).eval()
    assert model.loaded.picture == PictureRules(48)
    assert model(ImageSource([squares(9, 99)], PictureRules(48)).collate(np.array([0]))).frames.shape == (1, 2, 16)


def test_a_scratch_encoder_is_all_trained_and_drawn_from_its_seed() -> None:
    first, again, other = (make_encoder("visual", Scratch(width=16, layers=1, heads=2), [], s) for s in (0, 0, 1))
    assert first.picture == PictureRules(48) and first.width == 16
    pairs = list(zip(first.model.parameters(), again.model.parameters(), strict=True))
    assert all(torch.equal(a, b) and a.requires_grad for a, b in pairs)
    assert any(
        not torch.equal(a, b) for a, b in zip(first.model.parameters(), other.model.parameters(), strict=True)
    )


def test_a_scratch_encoder_begins_with_waves_of_a_patch_that_do_not_repeat_each_other() -> None:
    bank = patch_waves(64, 8)
    assert bank.shape == (64, 3, 8, 8)
    gram = bank.flatten(1) @ bank.flatten(1).T
    assert torch.allclose(gram.diagonal(), torch.ones(64), atol=1e-5)
    assert torch.allclose(gram[:32, :32], torch.eye(32), atol=1e-5)  # luma
    assert torch.allclose(
        bank[0], torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1).expand(3, 8, 8) / 5.3499, atol=1e-4
    )
    assert float(bank[32:].sum(1).abs().max()) < 1e-3  # colours say nothing of grey
    assert patch_waves(300, 8)[:, 0].flatten(1).any(1).sum() == 64 + 64 + 64


def test_positions_are_told_apart_by_row_and_column() -> None:
    places = grid_positions(6, 18)
    assert places.shape == (36, 18) and not places[:, 16:].any()
    assert torch.allclose(places[7, :1], torch.tensor([1.0]).sin()) and torch.equal(places[0, :4], torch.zeros(4))
    assert torch.equal(places[1, :8], places[7, :8]) and torch.equal(places[6, 8:], places[7, 8:])
    assert float(torch.pdist(places).min()) > 0.1


def test_no_parameter_is_left_without_a_gradient(tmp_path: Path) -> None:
    """Those that nothing reads, as a token for hidden patches, are not given to the optimiser."""
    model = EncoderModel(loaded(tmp_path, "dinov2"), 3, 0.0, True).train()
    torch.autograd.backward(
        model(ImageSource([squares(9, 99)], PictureRules(32)).collate(np.array([0]))).logits.sum()
    )
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("family", ["vit_mae", "beit"])
def test_an_encoder_says_the_same_twice(tmp_path: Path, family: str) -> None:
    """A masked autoencoder would hide three quarters of its patches at random."""
    model = EncoderModel(loaded(tmp_path, family), 3, 0.0, True).eval()
    inputs = ImageSource([squares(9, 99)], PictureRules(32)).collate(np.array([0]))
    assert torch.allclose(model(inputs).logits, model(inputs).logits, atol=1e-5)


def test_what_is_no_image_encoder_is_refused_and_no_image_encoder_reads_text(tmp_path: Path) -> None:
    bert, wave = bert_checkpoint(tmp_path / "bert"), wav2vec_checkpoint(tmp_path / "wave")
    for folder, family in ((bert, "bert"), (wave, "wav2vec2")):
        with pytest.raises(CheckpointError, match=f"a {family} model cannot be the visual teacher; give ViT, DeiT"):
            make_encoder("visual", Pretrained(checkpoint=str(folder)), [], 0)
    vit = Pretrained(checkpoint=str(image_checkpoint(tmp_path / "vit")))
    with pytest.raises(CheckpointError, match="a vit model cannot be the text teacher; give BERT"):
        make_encoder("text", vit, [], 0)


def test_layers_of_several_widths_are_refused(tmp_path: Path) -> None:
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    SwinModel(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="a swin model cannot be the visual teacher"):
        make_encoder("visual", Pretrained(checkpoint=str(tmp_path)), [], 0)


def test_a_microbatch_of_pictures_takes_no_more_room_than_one_of_speech() -> None:
    model = EncoderModel(make_encoder("visual", Scratch(width=16, layers=1, heads=2), [], 0), 3, 0.0, True)
    assert model.loaded.positions == 8 * 36
    assert rows_at_once(model, 32) == 28 and rows_at_once(model, 1) == 1 and rows_at_once(model, None) is None
    model.loaded.picture = PictureRules(48, frames=4)
    assert rows_at_once(model, 32) == 32
