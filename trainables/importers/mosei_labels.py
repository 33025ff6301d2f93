"""What a segment of CMU-MOSEI is labelled with: six mean ratings, from which emotions are there or not.

Ratings are from 0 to 3, but some are sums of more than three raters' over three (issue 101 of the SDK), up to 5.
Those say the same of which emotions are there and of which is strongest; they are left as they are, as a limit of 3
would make ties.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainables.spec.corpus import SIX_EMOTIONS

HIGHEST = 3.0
COLUMNS = ("sentiment", *SIX_EMOTIONS)
"""Of `CMU_MOSEI_Labels.csd`, in order."""
NAMES = {
    "happy": "happy",
    "happiness": "happy",
    "sad": "sad",
    "sadness": "sad",
    "anger": "anger",
    "surprise": "surprise",
    "disgust": "disgust",
    "fear": "fear",
}
"""As labels and raters name the emotions -> ours."""
NONE, TIE = "no emotion", "tie of the strongest"


@dataclass(frozen=True)
class Labelled:
    """A labelled segment. `start` and `end` are seconds of the recording, None where the labels do not say."""

    video: str
    number: int
    """Its row in the .csd, or its clip in the CSV files."""
    scores: tuple[float, ...]
    """Of `SIX_EMOTIONS`."""
    start: float | None = None
    end: float | None = None
    clip: int | None = None
    """As transcripts and files of single segments number it, where the labels say."""

    @property
    def uid(self) -> str:
        return f"{self.video}[{self.number}]"

    @property
    def beyond(self) -> bool:
        """Whether a rating is none from 0 to 3."""
        return not all(0 <= score <= HIGHEST + 1e-6 for score in self.scores)


def present(scores: Sequence[float]) -> list[float]:
    """1 for an emotion that any rater heard or saw (its mean rating is above 0), else 0 [SDK's README]."""
    return [float(score > 0) for score in scores]


def strongest(scores: Sequence[float]) -> str:
    """The emotion of the highest rating, or `NONE` or `TIE`."""
    highest = max((score for score in scores if not math.isnan(score)), default=0.0)
    if highest <= 0:
        return NONE
    first = [label for label, score in zip(SIX_EMOTIONS, scores, strict=True) if score > highest - 1e-6]
    return first[0] if len(first) == 1 else TIE
