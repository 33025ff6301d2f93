"""What the student and the teacher of S2 share: one network over the frozen sequences of the other two teachers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Count, Probability, Spec
from trainables.spec.needs import GRANULARITIES, Granularity

SpeechLevel = Literal["frame", "phone", "syllable", "word"]
SPEECH_LEVELS: tuple[SpeechLevel, ...] = ("frame", *GRANULARITIES)
Late = Literal["mean", "weights", "logits", "product", "stacking"]
"""What joins the members of a late fusion; the formulas are in `trainables.late_fusion`."""


class MultiLevelShape(Spec):
    levels: Annotated[tuple[SpeechLevel, ...], Field(min_length=1)] = SPEECH_LEVELS
    """The granularities of speech, each with its own co-attention with the text."""
    width: Count = 128
    layers: Count = 1
    """Co-attention layers of each level."""
    heads: Count = 4
    feedforward_ratio: Count = 2
    dropout: Probability = 0.2
    pooling: Literal["mean", "attention"] = "mean"
    unimodal: bool = True
    """Whether the two unimodal classifiers take part in the late fusion."""
    text_vector: Literal["first", "mean"] = "first"
    """What the text's own classifier reads: the first piece (CLS), or the mean of all, as the teacher's does."""

    @model_validator(mode="after")
    def _levels(self) -> MultiLevelShape:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        if len(set(self.levels)) != len(self.levels):
            raise ValueError(f"levels {list(self.levels)}: name each of frame, phone, syllable, word at most once")
        return self

    @property
    def segments(self) -> tuple[Granularity, ...]:
        """The levels that take an alignment, in the order of SPEECH_LEVELS."""
        return tuple(g for g in GRANULARITIES if g in self.levels)
