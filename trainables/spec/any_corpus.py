"""What every corpus says of itself, how its words are aligned, and what is kept of its pictures."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainables.spec.base import Modality, Positive, Spec


class OwnAlignment(Spec):
    """The words, phones and syllables that the corpus itself comes with, if any."""

    type: Literal["corpus"] = "corpus"


class TextGridAlignment(Spec):
    """Praat TextGrids, as the Montreal Forced Aligner writes them, one a clip; their folder is a setting."""

    type: Literal["textgrid"] = "textgrid"
    words: str = "words"
    """The tier that holds the words."""
    phones: str = "phones"


class CtcAlignment(Spec):
    """Forced alignment of the text by a wav2vec 2.0 CTC model; phones by equal shares of each word."""

    type: Literal["ctc"] = "ctc"
    checkpoint: str = "facebook/wav2vec2-base-960h"
    revision: str | None = None


class ProportionalAlignment(Spec):
    """The voiced part of the clip shared out by the number of phones: results with it are not comparable."""

    type: Literal["proportional"] = "proportional"


AlignmentSpec = Annotated[
    OwnAlignment | TextGridAlignment | CtcAlignment | ProportionalAlignment, Field(discriminator="type")
]


class VisualSpec(Spec):
    """What is kept of a clip's pictures: frames at a steady rate, square, as JPEG."""

    rate: Positive = 5.0
    """Frames a second; an utterance of 3.6 s then has 18."""
    size: Annotated[int, Field(ge=16, le=512)] = 112
    """Side of the stored square in pixels."""
    crop: Literal["whole", "face", "corpus"] = "whole"
    """`whole`: the largest square in the middle of the frame; `face`: round the face that a detector finds (needs
    the extra `faces`), the middle where it finds none; `corpus`: round the box that the corpus gives of the
    row, the middle where it gives none."""


class AnyCorpus(Spec):
    """What every corpus says of itself, so that `orch check` can answer without the corpus."""

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text")
    """The modalities that it can be read with."""
    crops: ClassVar[bool] = False
    """Whether it says itself where in the picture its speaker is."""

    has_alignments: ClassVar[bool] = False
    """Whether it comes with words and phones in time."""
    has_votes: ClassVar[bool] = False
    """Whether it keeps what each rater said, so that its labels can be soft."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio", "text")
    max_seconds: Positive = 15.0
    """Longer clips are cropped."""
    min_seconds: Positive = 0.4
    """Shorter clips are padded with silence, so that every encoder has a frame to look at."""
    alignment: AlignmentSpec = OwnAlignment()
    visual: VisualSpec = VisualSpec()

    @model_validator(mode="after")
    def _modalities(self) -> AnyCorpus:
        for modality in self.modalities:
            if modality not in self.offers:
                raise ValueError(f"modalities: this corpus has {', '.join(self.offers)}, and no {modality}")
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities {list(self.modalities)}: name each at most once")
        if self.visual.crop == "corpus" and not self.crops:
            raise ValueError("visual.crop: corpus: this corpus gives no crop; take face or whole")
        return self

    @property
    def multi_label(self) -> bool:
        """Whether an utterance may have several labels, or none."""
        return False

    @property
    def vectors(self) -> bool:
        """Whether it comes as vectors that somebody else worked out, without sound, words or pictures."""
        return False

    @property
    def fold_count(self) -> int:
        """Folds of its cross-validation; 0 where it has one official split into train, dev and test."""
        return 0

    @property
    def spoken_language(self) -> str:
        """As `en` or `en-GB`: how its words are parted into syllables where phones are not known."""
        return "en"

    @property
    def rated(self) -> bool:
        """Whether its rows have the raters' votes."""
        return self.has_votes

    @property
    def aligned(self) -> bool:
        """Whether its rows have words and phones in time, of whatever source."""
        return self.has_alignments or self.alignment.type != "corpus"
