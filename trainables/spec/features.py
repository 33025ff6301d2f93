"""What the student sees of an utterance; computed once, at harvest."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.spec.base import Count, Positive, Spec


class FeaturesSpec(Spec):
    """Log-mel frames of the audio, word pieces of the text, small grey pictures of the video."""

    mel_bands: Count = 80
    window_seconds: Positive = 0.025
    hop_seconds: Positive = 0.010
    max_tokens: Count = 64
    vocabulary: Literal["train", "teacher"] = "train"
    """`train`: only the word pieces that the train split uses (others become the unknown piece);
    `teacher`: all of the text teacher's."""
    image_size: Annotated[int, Field(ge=16, le=128)] = 48
    """Side in pixels of the grey pictures, one for each frame that the corpus keeps."""
    attention_grid: Count = 16
    """Side of the square grid to which a teacher's head-averaged last attention map is resized."""
