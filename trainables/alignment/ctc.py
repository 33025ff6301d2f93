"""Forced alignment of a text by a wav2vec 2.0 CTC model of `transformers`.

A word lasts from the first frame of its first character to the last one of its last; its phones are its letters
in equal shares, since a CTC model puts each of them in a frame or two. Characters that the model's vocabulary does
not have, in either case, with or without accent, are left out.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.alignment.base import Alignment, Segment
from trainables.alignment.spelling import shared_out, words_of
from trainables.alignment.trellis import align_tokens, needed_frames
from trainables.corpus import SAMPLE_RATE
from trainables.errors import CheckpointError
from trainables.pretrained import check_source, hub_cache, local_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST = 400
"""Samples that the convolutional front end needs for one frame."""


@dataclass(frozen=True)
class Vocabulary:
    """`ids` of single characters; `delimiter` stands between words, None where the model has none."""

    ids: Mapping[str, int]
    blank: int
    delimiter: int | None

    def spell(self, word: str) -> list[int]:
        """The word's tokens; what the vocabulary does not have is left out."""
        found = (self._id(char) for char in word)
        return [token for token in found if token is not None]

    def _id(self, char: str) -> int | None:
        base = unicodedata.normalize("NFD", char)[0]
        for form in (char, char.upper(), char.lower(), base, base.upper(), base.lower()):
            if form in self.ids:
                return self.ids[form]
        return None


def tokens_of(words: Sequence[str], vocabulary: Vocabulary) -> tuple[list[str], list[int], list[tuple[int, int]]]:
    """The words that have a token, all tokens with delimiters, and each word's (first, behind the last) token."""
    kept: list[str] = []
    tokens: list[int] = []
    spans: list[tuple[int, int]] = []
    for word in words:
        own = vocabulary.spell(word)
        if not own:
            continue
        if tokens and vocabulary.delimiter is not None:
            tokens.append(vocabulary.delimiter)
        spans.append((len(tokens), len(tokens) + len(own)))
        tokens += own
        kept.append(word)
    return kept, tokens, spans


class CtcAligner:
    """The model in evaluation, one utterance at a time: padding would change a group-normed front end's output."""

    def __init__(self, checkpoint: str, revision: str | None = None) -> None:
        """Raises CheckpointError where it cannot be loaded, or is no CTC model with a vocabulary of characters."""
        import torch

        source = str(local_folder(checkpoint) or checkpoint)
        try:
            check_source(source, revision or "main")
            self._model, self.vocabulary, self._normalise = _load(source, revision or "main")
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"checkpoint {checkpoint!r} for alignment: {reason} (looked in the hub's cache {hub_cache()}, set "
                "by HF_HOME, and on the hub unless offline); give a folder with config.json, vocab.json and "
                "safetensors: --set run.corpus.alignment.checkpoint=DIR"
            ) from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device).eval()
        self._seconds = math.prod(self._model.config.conv_stride) / SAMPLE_RATE

    def align(self, samples: NDArray[np.float32], text: str, language: str = "en") -> Alignment | None:
        """`samples` [time] in -1 to 1 at 16 kHz; None where no word can be spelled or the clip is too short."""
        words, tokens, spans = tokens_of(words_of(text), self.vocabulary)
        if not words or len(samples) < SHORTEST or not np.abs(samples).max() > 0:
            return None
        log_probs = self._log_probs(samples)
        if len(log_probs) < needed_frames(tokens):
            return None
        frames = align_tokens(log_probs, tokens, self.vocabulary.blank)
        found = [
            Segment(word, frames[first][0] * self._seconds, frames[last - 1][1] * self._seconds)
            for word, (first, last) in zip(words, spans, strict=True)
        ]
        return shared_out(found, "ctc", language)

    def _log_probs(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """[frames, vocabulary] in nats."""
        import torch

        wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(self._device)
        if self._normalise:
            wave = (wave - wave.mean()) / torch.sqrt(wave.var(unbiased=False) + 1e-7)
        with torch.inference_mode():
            logits = self._model(wave[None]).logits[0].float()
            found: NDArray[np.float32] = torch.log_softmax(logits, dim=-1).cpu().numpy()
        return found


def _load(source: str, revision: str) -> tuple[Any, Vocabulary, bool]:
    import torch
    from transformers import AutoModelForCTC
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    model, report = AutoModelForCTC.from_pretrained(
        source,
        revision=revision,
        use_safetensors=True,
        trust_remote_code=False,
        dtype=torch.float32,
        output_loading_info=True,
    )
    if any(key.startswith("lm_head") for key in report["missing_keys"]):
        raise ValueError("it has no CTC head: it was not fine-tuned on text; give one such as wav2vec2-base-960h")
    rules = _json(source, revision, "preprocessor_config.json")
    normalise = bool(rules.get("do_normalize", model.config.feat_extract_norm == "layer"))
    return model, _vocabulary(source, revision, int(model.config.pad_token_id)), normalise


def _vocabulary(source: str, revision: str, blank: int) -> Vocabulary:
    """Of `vocab.json`; the names of special tokens, of several characters, are none to spell with."""
    ids = _json(source, revision, "vocab.json")
    if not ids or not all(isinstance(value, int) for value in ids.values()):
        raise ValueError("no vocab.json of characters in it")
    rules = _json(source, revision, "tokenizer_config.json")
    delimiter = str(rules.get("word_delimiter_token") or "|")
    letters = {
        name: value for name, value in ids.items() if len(name) == 1 and name != delimiter and value != blank
    }
    return Vocabulary(letters, blank, ids.get(delimiter))


def _json(source: str, revision: str, name: str) -> dict[str, Any]:
    from transformers.utils import cached_file

    found = cached_file(source, name, revision=revision, _raise_exceptions_for_missing_entries=False)
    content: dict[str, Any] = json.loads(Path(found).read_text("utf-8")) if found else {}
    return content
