"""The token table: which words training blanks, and what a frozen table keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables.encoders import TokenEmbedding
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.spec import AudioTextTransformer
from trainables.students import build_student


def embedding(word_dropout: float) -> TokenEmbedding:
    torch.manual_seed(0)
    return TokenEmbedding(50, 8, 16, dropout=0.0, word_dropout=word_dropout)


def test_whole_words_are_blanked_in_training_and_none_in_evaluation() -> None:
    tokens = torch.arange(50)[None]
    blanking = embedding(0.4)
    whole = blanking.eval()(tokens)
    seen = blanking.train()(tokens)
    kept = (seen == whole).all(dim=2)[0]
    assert 15 <= int(kept.sum()) <= 45
    # What is not kept is the same blank everywhere, but for the position that is added to it.
    blank = (seen - blanking.positions.gain * blanking.positions.table[:50])[0][~kept]
    torch.testing.assert_close(blank, blank[:1].expand_as(blank))
    assert torch.equal(blanking.eval()(tokens), whole)


def test_without_word_dropout_training_draws_nothing() -> None:
    tokens = torch.arange(50)[None]
    plain = embedding(0.0).train()
    state = torch.get_rng_state()
    assert torch.equal(plain(tokens), plain(tokens))
    assert torch.equal(state, torch.get_rng_state())


def test_a_frozen_table_keeps_what_the_teacher_gave(tmp_path: Path) -> None:
    data = synthetic(tmp_path, n=80)
    student = AudioTextTransformer(
        modalities=("text",), width=16, token_width=8, token_init="teacher", token_training="frozen"
    )
    run = small_run(student=student.model_dump())
    started = dict(build_student(student, data, run.seed).named_parameters())
    result = train(run, data, ListReporter(), threads=1)
    assert torch.equal(result.student_state["text.table.weight"], started["text.table.weight"])
    assert not torch.equal(result.student_state["text.project.weight"], started["text.project.weight"])


def test_a_random_table_cannot_be_frozen() -> None:
    with pytest.raises(ValueError, match="token_init: teacher"):
        AudioTextTransformer(token_training="frozen")
