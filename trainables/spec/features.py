"""What the student sees of an utterance; computed once, at harvest."""

from __future__ import annotations

from typing import Literal

from trainables.spec.base import Count, Positive, Spec


class FeaturesSpec(Spec):
    """Log-mel frames of the audio and word pieces of the text."""

    mel_bands: Count = 80
    window_seconds: Positive = 0.025
    hop_seconds: Positive = 0.010
    max_tokens: Count = 64
    vocabulary: Literal["train", "teacher"] = "train"
    """`train`: only the word pieces that the train split uses (others become the unknown piece);
    `teacher`: all of the text teacher's."""
    attention_grid: Count = 16
    """Side of the square grid to which a teacher's head-averaged last attention map is resized."""
