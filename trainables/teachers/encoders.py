"""Encoders of `transformers`: loaded by hub name or from a folder, or made small and untrained.

The rules of wav2vec 2.0 and HuBERT are kept here. Models with group norm in the convolutional front end (base)
were trained without attention mask on zero-padded waves, so they get none; those with layer norm (large-lv60)
get one. The wave is normalised where `preprocessor_config.json` says so, else with layer norm only. SpecAugment
and layer drop are off: short clips have too few frames for the first, and with the second the gradient of a
batch would depend on how it was split.

An image encoder is any of ViT's form: patches, layers of one width, a class token or none. Of its normalisation
before each layer the last comes after all of them, so that it is applied to a weighting of the layers too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from trainables.errors import CheckpointError
from trainables.pretrained import check_source, hub_cache, local_folder
from trainables.spec.teachers import Encoder, Pretrained, Scratch
from trainables.teachers.images import PictureRules, rules_of
from trainables.teachers.scratch import SCRATCH_SIDE, scratch_audio, scratch_text, scratch_visual, train_tokenizer

SHORTEST = 400
"""Samples that the convolutional front end of wav2vec 2.0 needs for one frame."""
LONGEST_TEXT = 128
"""Word pieces with the special ones; MELD's longest utterance has about 90."""
_FORMS: dict[str, str] = {
    "audio": "wav2vec 2.0 or HuBERT",
    "text": "BERT, RoBERTa or one of their form",
    "visual": "ViT, DeiT, BEiT, DINOv2 or one of their form",
}


@dataclass(frozen=True)
class WaveRules:
    """`normalise`: zero mean and unit variance an utterance; `mask`: the model takes an attention mask."""

    normalise: bool
    mask: bool


@dataclass
class LoadedEncoder:
    """`tokenizer` for text, `wave` for audio, `picture` for images. `trainable_front`: audio's starts untrained."""

    model: Any
    tokenizer: Any = None
    wave: WaveRules | None = None
    picture: PictureRules | None = None
    trainable_front: bool = False

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def layers(self) -> int:
        """Hidden states that the model returns: its layers and their input."""
        return int(self.model.config.num_hidden_layers) + 1

    @property
    def positions(self) -> int:
        """The patches of an utterance's frames, at most, in an image encoder; 0 in others."""
        if self.picture is None:
            return 0
        return self.picture.frames * (self.picture.side // int(self.model.config.patch_size)) ** 2

    @property
    def longest_text(self) -> int:
        """Positions that the table has room for (RoBERTa's starts behind its padding index)."""
        positions = int(getattr(self.model.config, "max_position_embeddings", LONGEST_TEXT + 2))
        return min(LONGEST_TEXT, positions - 2)

    def save(self, folder: Path) -> None:
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.model.save_pretrained(folder)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        if self.wave is not None:
            rules = {**asdict(self.wave), "trainable_front": self.trainable_front}
            (folder / "wave.json").write_text(json.dumps(rules), "utf-8")
        if self.picture is not None:
            (folder / "picture.json").write_text(json.dumps(asdict(self.picture)), "utf-8")


def make_encoder(
    name: str, spec: Encoder, texts: Sequence[str], seed: int, *, frames: int = PictureRules.frames
) -> LoadedEncoder:
    """The encoder that a teacher starts from; `texts` (of train) are read by a scratch text encoder only.

    `frames` of an utterance are read by an image encoder at most.
    """
    if isinstance(spec, Scratch):
        return _scratch(name, spec, texts, seed, frames)
    loaded = _pretrained(name, spec)
    if loaded.picture is not None:
        loaded.picture = replace(loaded.picture, frames=frames)
    return loaded


def _scratch(name: str, spec: Scratch, texts: Sequence[str], seed: int, frames: int) -> LoadedEncoder:
    torch.manual_seed(seed)
    if name == "visual":
        return LoadedEncoder(scratch_visual(spec), picture=PictureRules(SCRATCH_SIDE, frames=frames))
    if name == "audio":
        wave = WaveRules(normalise=False, mask=True)
        return LoadedEncoder(scratch_audio(spec), wave=wave, trainable_front=True)
    tokenizer = train_tokenizer(texts, spec.vocabulary)
    return LoadedEncoder(scratch_text(spec, tokenizer), tokenizer=tokenizer)


def _pretrained(name: str, spec: Pretrained) -> LoadedEncoder:
    try:
        check_source(spec.checkpoint, spec.revision or "main")
        return _load(name, str(local_folder(spec.checkpoint) or spec.checkpoint), spec.revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"checkpoint {spec.checkpoint!r} of the {name} teacher: {reason} (looked in the hub's cache "
            f"{hub_cache()}, set by HF_HOME, and on the hub unless offline); give a folder with config.json and "
            f"safetensors: --set run.teachers.{name}.encoder.checkpoint=DIR"
        ) from error


def load_encoder(name: str, folder: Path, attention: bool = False) -> LoadedEncoder:
    """What `LoadedEncoder.save` left. `attention`: with the plain attention that can return its maps."""
    loaded = _load(name, str(folder), None, "eager" if attention and name != "visual" else None)
    if name == "audio":
        rules = json.loads((folder / "wave.json").read_text("utf-8"))
        loaded.trainable_front = rules.pop("trainable_front")
        loaded.wave = WaveRules(**rules)
    if name == "visual":
        rules = json.loads((folder / "picture.json").read_text("utf-8"))
        loaded.picture = PictureRules(**rules | {k: tuple(rules[k]) for k in ("mean", "std")})
    return loaded


def _load(name: str, source: str, revision: str | None, attention: str | None = None) -> LoadedEncoder:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    choice = {"attn_implementation": attention} if attention else {}
    model = AutoModel.from_pretrained(
        source,
        revision=revision or "main",
        use_safetensors=True,
        trust_remote_code=False,  # left out, somebody at a terminal would be asked
        dtype=torch.float32,
        **choice,
    )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # unused: its weights would get no gradient
    if name != _modality(model):
        raise CheckpointError(
            f"checkpoint {source!r}: a {model.config.model_type} model cannot be the {name} teacher; "
            f"give {_FORMS[name]}"
        )
    _without_augmentation(model)
    if name == "audio":
        return LoadedEncoder(model, wave=_wave_rules(model, source, revision))
    if name == "visual":
        processor = _preprocessor(source, revision)
        return LoadedEncoder(model, picture=rules_of(processor, int(model.config.image_size), PictureRules.frames))
    tokenizer = AutoTokenizer.from_pretrained(source, revision=revision or "main", trust_remote_code=False)
    return LoadedEncoder(model, tokenizer=tokenizer)


def _modality(model: Any) -> str:
    """The teacher that the model can be; empty where it can be none."""
    if hasattr(model, "feature_extractor") and hasattr(model, "_get_feature_vector_attention_mask"):
        return "audio"
    if model.main_input_name != "pixel_values":
        return "text" if model.main_input_name == "input_ids" else ""
    # Of pictures as they are, all layers of one width: not Swin's, a video's or a convolutional network's.
    names = ("image_size", "patch_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    plain = all(isinstance(getattr(model.config, name, None), int) for name in names)
    return "visual" if plain and not hasattr(model.config, "num_frames") else ""


def _without_augmentation(model: Any) -> None:
    """Nothing of the input is hidden from the encoder at random."""
    if hasattr(model, "feature_extractor"):
        model.config.apply_spec_augment = False
        model.config.mask_time_prob = model.config.mask_feature_prob = 0.0
        model.config.layerdrop = 0.0
    if hasattr(model.config, "mask_ratio"):
        model.config.mask_ratio = 0.0  # a masked autoencoder drops three quarters of its patches
    hidden = getattr(getattr(model, "embeddings", None), "mask_token", None)
    if hidden is not None:
        hidden.requires_grad_(False)  # unused, so that it would get no gradient


def _preprocessor(source: str, revision: str | None) -> dict[str, Any]:
    """The values of `preprocessor_config.json`; none where the checkpoint has no such file."""
    from transformers.utils import cached_file

    found = cached_file(
        source, "preprocessor_config.json", revision=revision or "main", _raise_exceptions_for_missing_entries=False
    )  # fmt: skip
    values: dict[str, Any] = json.loads(Path(found).read_text("utf-8")) if found else {}
    return values


def _wave_rules(model: Any, source: str, revision: str | None) -> WaveRules:
    layered = model.config.feat_extract_norm == "layer"
    rules = _preprocessor(source, revision)
    return WaveRules(normalise=bool(rules.get("do_normalize", layered)), mask=layered)


def frame_vectors(model: Any, output: Any, layer_weights: Tensor | None) -> Tensor:
    """What ViT-like encoders say of each picture: [n, D] of its class token, else of the mean of its patches.

    With `layer_weights`, those of the layers summed by weight and then normed as the last layer's are.
    """
    embeddings = getattr(model, "embeddings", None)
    has_token = any(hasattr(embeddings, name) for name in ("cls_token", "class_embedding"))

    def vector(state: Tensor) -> Tensor:
        return state[:, 0] if has_token else state.mean(1)

    if layer_weights is None:
        return vector(output.last_hidden_state)
    total = weighted_sum(layer_weights, [vector(state) for state in output.hidden_states])
    norms = (getattr(model, name, None) for name in ("layernorm", "norm", "post_layernorm"))
    norm = next((n for n in norms if n is not None), None)
    return total if norm is None else cast(Tensor, norm(total))


def weighted_sum(weights: Tensor, states: Sequence[Tensor]) -> Tensor:
    """The states of all layers, each of the same shape, by the softmax of `weights` [layers]."""
    shares = weights.softmax(0)
    total = shares[0] * states[0]
    for share, state in zip(shares[1:], states[1:], strict=True):
        total = total + share * state
    return total


def frame_mask(model: Any, frames: int, samples: Tensor) -> Tensor:
    """The down-sampled mask of padded waves: [B, samples] of 0 and 1 -> [B, frames] bool, True = valid."""
    mask: Tensor = model._get_feature_vector_attention_mask(frames, samples.long(), add_adapter=False)
    return mask.bool()
