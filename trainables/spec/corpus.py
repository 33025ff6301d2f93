"""Which corpus, and what of it: never where it lies."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.spec.base import Count, Modality, Positive, Probability, Spec

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
"""MELD's seven labels in the order of its own repository."""


class MeldSpec(Spec):
    """MELD (Poria et al., ACL 2019): official split, seven emotions, weighted F1."""

    type: Literal["meld"] = "meld"
    modalities: tuple[Modality, ...] = ("audio", "text")
    """`("text",)` reads the three CSVs alone and needs no media."""
    max_seconds: Positive = 15.0
    """Longer clips are cropped: 95 % of MELD's last under 7.9 s, one mis-cut test clip lasts 305 s."""
    min_seconds: Positive = 0.4
    """Shorter clips are padded with silence, so that every encoder has a frame to look at."""


class StandInSpec(Spec):
    """The corpus made by rule with eSpeak NG, for machines without MELD. Its scores are not MELD's."""

    type: Literal["standin"] = "standin"
    modalities: tuple[Modality, ...] = ("audio", "text")
    utterances: Count = 1200
    voices: Annotated[int, Field(ge=6, le=12)] = 12
    """Speakers; of the last three, one speaks in dev alone and two in test alone."""
    text_noise: Probability = 0.45
    """Probability that the words carry another emotion than the utterance's, of the same valence."""
    prosody_noise: Probability = 0.45
    """Probability that the voice carries another emotion than the utterance's, of the same arousal."""
    label_noise: Probability = 0.05
    """Probability that the annotated label is drawn at random from all seven."""
    audible_words: bool = False
    """Whether the words that carry the emotion are spoken as written. If not, the speaker says "hey" and "so" in
    their place: audio then has prosody alone, and an exact ceiling. If so, audio knows all that text knows."""
    seed: int = 0
    max_seconds: Positive = 15.0
    min_seconds: Positive = 0.4


CorpusSpec = Annotated[MeldSpec | StandInSpec, Field(discriminator="type")]
