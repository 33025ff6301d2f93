"""Encoders of `transformers`: loaded by hub name or from a folder, or made small and untrained.

The rules of wav2vec 2.0 and HuBERT are kept here. Models with group norm in the convolutional front end (base)
were trained without attention mask on zero-padded waves, so they get none; those with layer norm (large-lv60)
get one. The wave is normalised where `preprocessor_config.json` says so, else with layer norm only. SpecAugment
and layer drop are off: short clips have too few frames for the first, and with the second the gradient of a
batch would depend on how it was split.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainables.errors import CheckpointError
from trainables.pretrained import check_safetensors, hub_cache, local_folder
from trainables.spec.teachers import Encoder, Pretrained, Scratch
from trainables.teachers.scratch import scratch_audio, scratch_text, train_tokenizer

SHORTEST = 400
"""Samples that the convolutional front end of wav2vec 2.0 needs for one frame."""
LONGEST_TEXT = 128
"""Word pieces with the special ones; MELD's longest utterance has about 90."""


@dataclass(frozen=True)
class WaveRules:
    """`normalise`: zero mean and unit variance an utterance; `mask`: the model takes an attention mask."""

    normalise: bool
    mask: bool


@dataclass
class LoadedEncoder:
    """`tokenizer` for text, `wave` for audio. `trainable_front` only where the front end starts untrained."""

    model: Any
    tokenizer: Any = None
    wave: WaveRules | None = None
    trainable_front: bool = False

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def layers(self) -> int:
        """Hidden states that the model returns: its layers and their input."""
        return int(self.model.config.num_hidden_layers) + 1

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


def make_encoder(name: str, spec: Encoder, texts: Sequence[str], seed: int) -> LoadedEncoder:
    """The encoder that a teacher starts from; `texts` (of train) are read by a scratch text encoder only."""
    if isinstance(spec, Pretrained):
        return _pretrained(name, spec)
    return _scratch(name, spec, texts, seed)


def _scratch(name: str, spec: Scratch, texts: Sequence[str], seed: int) -> LoadedEncoder:
    torch.manual_seed(seed)
    if name == "audio":
        wave = WaveRules(normalise=False, mask=True)
        return LoadedEncoder(scratch_audio(spec), wave=wave, trainable_front=True)
    tokenizer = train_tokenizer(texts, spec.vocabulary)
    return LoadedEncoder(scratch_text(spec, tokenizer), tokenizer=tokenizer)


def _pretrained(name: str, spec: Pretrained) -> LoadedEncoder:
    folder = local_folder(spec.checkpoint)
    if folder is not None:
        check_safetensors(folder)
    try:
        return _load(name, str(folder or spec.checkpoint), spec.revision)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"checkpoint {spec.checkpoint!r} of the {name} teacher: {reason} (looked in the hub's cache "
            f"{hub_cache()}, set by HF_HOME, and on the hub unless offline); give a folder with config.json and "
            f"safetensors: --set run.teachers.{name}.encoder.checkpoint=DIR"
        ) from error


def load_encoder(name: str, folder: Path, attention: bool = False) -> LoadedEncoder:
    """What `LoadedEncoder.save` left. `attention`: with the plain attention that can return its maps."""
    loaded = _load(name, str(folder), None, "eager" if attention else None)
    if name == "audio":
        rules = json.loads((folder / "wave.json").read_text("utf-8"))
        loaded.trainable_front = rules.pop("trainable_front")
        loaded.wave = WaveRules(**rules)
    return loaded


def _load(name: str, source: str, revision: str | None, attention: str | None = None) -> LoadedEncoder:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    choice = {"attn_implementation": attention} if attention else {}
    model = AutoModel.from_pretrained(
        source, revision=revision or "main", use_safetensors=True, dtype=torch.float32, **choice
    )
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # unused: its weights would get no gradient
    is_audio = hasattr(model, "feature_extractor") and hasattr(model, "_get_feature_vector_attention_mask")
    if is_audio != (name == "audio"):
        raise CheckpointError(
            f"checkpoint {source!r}: a {model.config.model_type} model cannot be the {name} teacher; "
            + ("give wav2vec 2.0 or HuBERT" if name == "audio" else "give BERT, RoBERTa or one of their form")
        )
    if name == "audio":
        return LoadedEncoder(_without_augmentation(model), wave=_wave_rules(model, source, revision))
    return LoadedEncoder(model, tokenizer=AutoTokenizer.from_pretrained(source, revision=revision or "main"))


def _without_augmentation(model: Any) -> Any:
    model.config.apply_spec_augment = False
    model.config.mask_time_prob = model.config.mask_feature_prob = 0.0
    model.config.layerdrop = 0.0
    return model


def _wave_rules(model: Any, source: str, revision: str | None) -> WaveRules:
    from transformers.utils import cached_file

    layered = model.config.feat_extract_norm == "layer"
    found = cached_file(
        source, "preprocessor_config.json", revision=revision or "main", _raise_exceptions_for_missing_entries=False
    )  # fmt: skip
    rules = json.loads(Path(found).read_text("utf-8")) if found else {}
    return WaveRules(normalise=bool(rules.get("do_normalize", layered)), mask=layered)


def frame_mask(model: Any, frames: int, samples: Tensor) -> Tensor:
    """The down-sampled mask of padded waves: [B, samples] of 0 and 1 -> [B, frames] bool, True = valid."""
    mask: Tensor = model._get_feature_vector_attention_mask(frames, samples.long(), add_adapter=False)
    return mask.bool()
