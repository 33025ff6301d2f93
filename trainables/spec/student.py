"""The student of CMD: an audio-text transformer, or one modality of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Modality, Probability, Spec


class AudioTextTransformer(Spec):
    """Cross-attention between the streams, then self-attention within each (S1, section 1.2).

    With one modality the cross-attention blocks fall away and the rest stays the same.
    """

    type: Literal["audio_text_transformer"] = "audio_text_transformer"
    modalities: tuple[Modality, ...] = ("audio", "text")
    width: Count = 64
    cross_layers: Count = 2
    self_layers: Count = 2
    heads: Count = 4
    feedforward_ratio: Count = 4
    dropout: Probability = 0.1
    embedding_dropout: Probability = 0.2
    word_dropout: Probability = 0.0
    """Probability that a word piece is blanked in training: the teacher still speaks of the whole text."""
    audio_stride: Literal[2, 4, 8] = 4
    """Total stride of the convolutions over 10 ms frames."""
    token_width: Count = 64
    """Width of the factorised token table: vocabulary x token_width, then token_width -> width."""
    token_init: Literal["random", "teacher"] = "random"
    """`teacher`: the table starts as the leading principal components of the text teacher's own table."""
    token_training: Literal["trained", "frozen"] = "trained"
    """`frozen`: the table stays as it starts, so that a small corpus cannot bend it; needs token_init: teacher."""
    pooling: Literal["mean", "attention"] = "mean"

    @model_validator(mode="after")
    def _shape(self) -> AudioTextTransformer:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if not self.modalities or len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities {list(self.modalities)}: name each of audio, text at most once")
        if self.token_training == "frozen" and self.token_init == "random":
            raise ValueError("token_training: frozen would keep a random table; set token_init: teacher")
        return self


StudentSpec = Annotated[AudioTextTransformer, Field()]
"""One class today; becomes a union discriminated by `type` with the second."""
