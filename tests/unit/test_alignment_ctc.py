"""Forced alignment by a CTC model: what a text is spelled as, when its words sound, what cannot be loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.ctc import VOCABULARY, wave, write_checkpoint
from trainables.alignment.ctc import CtcAligner, Vocabulary, tokens_of
from trainables.errors import CheckpointError

LETTERS = {name: value for name, value in VOCABULARY.items() if len(name) == 1 and name != "|"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("ctc") / "model")


@pytest.fixture(scope="module")
def aligner(checkpoint: Path) -> CtcAligner:
    return CtcAligner(str(checkpoint))


def test_the_words_are_where_they_sound(aligner: CtcAligner) -> None:
    """Five tones of 0.2 s and three silences; a frame lasts 0.02 s."""
    found = aligner.align(wave(" AB É  BA "), "ab, É: BA!")
    assert found is not None
    assert [word.label for word in found.words] == ["ab", "É", "BA"]
    spans = [bound for word in found.words for bound in (word.start, word.end)]
    assert spans == pytest.approx([0.2, 0.6, 0.8, 1.0, 1.4, 1.8], abs=0.0401)
    assert [phone.label for phone in found.phones] == list("abéba")
    assert found.phones[0].end == pytest.approx((found.words[0].start + found.words[0].end) / 2)
    assert (len(found.syllables), found.source) == (3, "ctc")


def test_it_is_the_same_twice(aligner: CtcAligner) -> None:
    assert aligner.align(wave("A B"), "a b") == aligner.align(wave("A B"), "a b")


def test_the_tokens_are_those_of_the_models_own_tokenizer(checkpoint: Path, aligner: CtcAligner) -> None:
    from transformers import Wav2Vec2CTCTokenizer

    theirs = Wav2Vec2CTCTokenizer(str(checkpoint / "vocab.json"))("AB É BAA").input_ids
    assert tokens_of(["ab", "é", "BAA"], aligner.vocabulary)[1] == theirs


def test_what_the_vocabulary_does_not_have_is_left_out() -> None:
    words, tokens, spans = tokens_of(["b1a", "xyz", "'á'"], Vocabulary(LETTERS, 0, 4))
    assert (words, tokens, spans) == (["b1a", "'á'"], [6, 5, 4, 5], [(0, 2), (3, 4)])
    assert tokens_of(["ab", "a"], Vocabulary(LETTERS, 0, None))[1] == [5, 6, 5]


@pytest.mark.parametrize("text", ["", "…", "xyz 42", "[LAUGHTER]"])
def test_a_text_without_a_known_character_is_not_aligned(text: str, aligner: CtcAligner) -> None:
    assert aligner.align(wave("A B"), text) is None


def test_a_clip_too_short_for_its_text_or_silent_is_not_aligned(aligner: CtcAligner) -> None:
    assert aligner.align(wave("A", 0.1), "ab ab ab ab") is None
    assert aligner.align(wave("A")[:100], "a") is None
    assert aligner.align(np.zeros(16_000, dtype=np.float32), "a") is None


def test_what_is_no_ctc_checkpoint_is_refused_with_its_name(checkpoint: Path, tmp_path: Path) -> None:
    from transformers import Wav2Vec2Model

    with pytest.raises(CheckpointError, match="there is no such folder"):
        CtcAligner(str(tmp_path / "nowhere"))
    headless = tmp_path / "headless"
    Wav2Vec2Model.from_pretrained(checkpoint).save_pretrained(headless)
    shutil.copy(checkpoint / "vocab.json", headless)
    with pytest.raises(CheckpointError, match=r"headless.*no CTC head"):
        CtcAligner(str(headless))
    pickled = shutil.copytree(checkpoint, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="pickled weights are never loaded"):
        CtcAligner(str(pickled))
    mute = shutil.copytree(checkpoint, tmp_path / "mute")
    for content in ({}, {"eng": {"A": 1}}):
        (mute / "vocab.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=r"no vocab\.json of characters"):
            CtcAligner(str(mute))
