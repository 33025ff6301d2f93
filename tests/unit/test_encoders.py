"""The token table: which words training blanks, and that evaluation blanks none."""

from __future__ import annotations

import torch

from trainables.encoders import TokenEmbedding


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
