"""Which corpus, and what of it: never where it lies."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from trainables.spec.any_corpus import AnyCorpus
from trainables.spec.base import Count, Modality, Positive, Probability

SIX_EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")
"""CMU-MOSEI's, in the order of its label columns behind the sentiment."""

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
"""MELD's seven labels in the order of its own repository."""


def _once(labels: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ValueError(f"labels {list(labels)}: {', '.join(twice)} is named twice; name each class once")
    return labels


Labels = Annotated[tuple[str, ...], AfterValidator(_once)]
"""The classes in order."""


class MeldSpec(AnyCorpus):
    """MELD (Poria et al., ACL 2019): official split, seven emotions, weighted F1.

    `modalities: ("text",)` reads the three CSVs alone and needs no media. 95 % of its clips last under 7.9 s, one
    mis-cut test clip 305 s. With `visual` the frames are of the same clips, the whole scene or the first face.
    """

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")

    type: Literal["meld"] = "meld"


class IemocapSpec(AnyCorpus):
    """IEMOCAP (Busso et al., LRE 2008): 4 classes (5531 utterances) or 6, cross-validated by session or speaker."""

    has_alignments: ClassVar[bool] = True
    has_votes: ClassVar[bool] = True

    type: Literal["iemocap"] = "iemocap"
    classes: Literal[4, 6] = 4
    """4: neutral, anger, sadness, happiness with excitement; 6: those two apart, and frustration."""
    happiness: Literal["with_excitement", "alone", "excitement"] = "with_excitement"
    """Of the 4 classes: what counts as happiness (5531, 4490 or 4936 utterances)."""
    part: Literal["all", "improvised"] = "all"
    protocol: Literal["session", "speaker"] = "session"
    """`session`: five folds, one session out in turn, dev drawn by dialogue from the others; `speaker`: ten folds,
    one speaker out, the other of the session is dev."""
    max_seconds: Positive = 20.0

    @model_validator(mode="after")
    def _six(self) -> IemocapSpec:
        if self.classes == 6 and self.happiness != "with_excitement":
            raise ValueError(
                f"happiness: {self.happiness} is a variant of the 4 classes; leave it out with classes: 6"
            )
        return self

    @property
    def fold_count(self) -> int:
        return 5 if self.protocol == "session" else 10


class EmoDBSpec(AnyCorpus):
    """Berlin EmoDB (Burkhardt et al., Interspeech 2005): ten speakers, one out in turn, the next one is dev."""

    has_alignments: ClassVar[bool] = True

    type: Literal["emodb"] = "emodb"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio",)
    """Ten fixed German sentences: the text says nothing of the emotion."""

    @property
    def spoken_language(self) -> str:
        return "de"

    @property
    def fold_count(self) -> int:
        return 10


class RavdessSpec(AnyCorpus):
    """RAVDESS speech (Livingstone & Russo, PLoS ONE 2018): 24 actors, eight emotions, folds by actor.

    With `visual` its videos are read (modality 01, sound and picture of one take), without it the audio files (03).
    """

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")

    type: Literal["ravdess"] = "ravdess"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio",)
    """Two fixed sentences: the text says nothing of the emotion."""
    protocol: Literal["five", "actor"] = "five"
    """`five`: five folds of four or five actors; `actor`: 24, one actor out in turn. The next fold is dev."""

    @property
    def fold_count(self) -> int:
        return 5 if self.protocol == "five" else 24


class CremaDSpec(AnyCorpus):
    """CREMA-D (Cao et al., IEEE TAFFC 2014): 91 actors, twelve sentences, six emotions, 7442 clips, folds by actor.

    `labels: acted` is what the actor was asked for; `perceived` what most raters said, and rows with a tie are left
    out. Votes are of the raters who were given what is read: the voice with audio, the face with visual, both with
    both.
    """

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")
    has_votes: ClassVar[bool] = True

    type: Literal["crema_d"] = "crema_d"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio",)
    """Twelve fixed sentences: the text says nothing of the emotion."""
    labels: Literal["acted", "perceived"] = "acted"
    protocol: Literal["five", "ten"] = "five"
    """Folds by actor; the next fold is dev."""

    @property
    def fold_count(self) -> int:
        return 5 if self.protocol == "five" else 10


class MoseiSpec(AnyCorpus):
    """CMU-MOSEI (Zadeh et al., ACL 2018): some 23 000 segments, six emotions, official split by video.

    `several`: each emotion is there or not (its mean rating is above 0), and a segment may have several or none;
    `one`: the strongest of the six, and rows without any or with a tie are left out (CMD's reading).
    """

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")

    type: Literal["mosei"] = "mosei"
    task: Literal["several", "one"] = "several"
    max_seconds: Positive = 20.0

    @property
    def multi_label(self) -> bool:
        return self.task == "several"


class FeaturesCorpusSpec(AnyCorpus):
    """Sequences of vectors that others worked out (COVAREP, Facet, OpenFace, GloVe), a file a split or one for all.

    Its format: `importers.features`. There is no sound, word or picture behind it, so that no teacher can read it;
    `modalities` are those of the vectors.
    """

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")

    type: Literal["features"] = "features"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio", "visual")
    labels: Labels = ()
    """The classes in order; empty: as the file names or numbers them."""
    thresholds: tuple[float, ...] = ()
    """Of a target that is a number: the ascending bounds between the classes, one fewer than `labels`; a value
    that equals a bound is of the class above it."""
    several: bool = False
    """Whether an utterance may have several labels: the target is then [rows, labels] of 0 and 1."""
    names: dict[Modality, Annotated[str, Field(min_length=1)]] = {}
    """By modality, the name of its arrays where several are there (`visual: openface`) or another than is known."""

    @model_validator(mode="after")
    def _own_alignment(self) -> FeaturesCorpusSpec:
        if self.alignment.type != "corpus":
            raise ValueError(f"alignment.type: {self.alignment.type}: vectors have no words in time; take corpus")
        if self.several and self.thresholds:
            raise ValueError("thresholds make one class of a number, and several: true reads 0 and 1; drop either")
        return self

    @model_validator(mode="after")
    def _thresholds(self) -> FeaturesCorpusSpec:
        if self.thresholds and len(self.labels) != len(self.thresholds) + 1:
            raise ValueError(
                f"thresholds {list(self.thresholds)} part {len(self.thresholds) + 1} classes, and labels name "
                f"{len(self.labels)}"
            )
        if list(self.thresholds) != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds {list(self.thresholds)}: they must ascend")
        return self

    @property
    def multi_label(self) -> bool:
        return self.several

    @property
    def vectors(self) -> bool:
        return True


class ManifestSpec(AnyCorpus):
    """Anybody's corpus: a CSV or Parquet manifest with a row an utterance (columns: `importers.manifest`)."""

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")
    crops: ClassVar[bool] = True

    type: Literal["manifest"] = "manifest"
    labels: Labels = ()
    """The classes in order; empty: those that occur, sorted. A label that is not among them is an error."""
    several: bool = False
    """Whether an utterance may have several labels: the column `label` then parts them by `|`, empty for none."""
    language: str = "en"
    folds: Annotated[int, Field(ge=0)] = 0
    """0: the column `split` says train, dev or test; k: the column `fold` numbers k folds from 0, one out in turn,
    and the next one is dev."""
    votes: bool = False
    """Whether the columns `votes.<label>` say how many raters chose which label."""

    @model_validator(mode="after")
    def _folds(self) -> ManifestSpec:
        if self.folds in (1, 2):
            raise ValueError(f"folds {self.folds}: train, dev and test take three folds at least; 0 for a split")
        if self.several and self.votes:
            raise ValueError(
                "votes: true: shares of the raters sum to 1 over labels, and several: true has no such"
            )
        return self

    @property
    def fold_count(self) -> int:
        return self.folds

    @property
    def spoken_language(self) -> str:
        return self.language

    @property
    def rated(self) -> bool:
        return self.votes

    @property
    def multi_label(self) -> bool:
        return self.several


class StandInSpec(AnyCorpus):
    """The corpus made by rule with eSpeak NG, for machines without a corpus. Its scores are no real corpus's."""

    offers: ClassVar[tuple[Modality, ...]] = ("audio", "text", "visual")
    has_alignments: ClassVar[bool] = True
    has_votes: ClassVar[bool] = True

    type: Literal["standin"] = "standin"
    utterances: Count = 1200
    voices: Annotated[int, Field(ge=6, le=12)] = 12
    """Speakers; of the last three, one speaks in dev alone and two in test alone (without folds)."""
    text_noise: Probability = 0.45
    """Probability that the words carry another emotion than the utterance's, of the same valence."""
    prosody_noise: Probability = 0.45
    """Probability that the voice carries another emotion than the utterance's, of the same arousal."""
    face_noise: Probability = 0.45
    """Probability that the face shows another emotion than the utterance's, of those that faces mistake for it."""
    several: bool = False
    """Whether an utterance has one or two emotions, each channel showing one of them, and its label is the set."""
    label_noise: Probability = 0.05
    """Probability that the annotated label is drawn at random from all seven."""
    audible_words: bool = False
    """Whether the words that carry the emotion are spoken as written. If not, the speaker says "hey" and "so" in
    their place: audio then has prosody alone, and an exact ceiling. If so, audio knows all that text knows."""
    folds: Annotated[int, Field(ge=0, le=6)] = 0
    """0: one split, as MELD; k: k folds by speaker, one out in turn, dev drawn by dialogue from the others."""
    seed: int = 0

    @model_validator(mode="after")
    def _folds(self) -> StandInSpec:
        if self.folds == 1:
            raise ValueError("folds 1: one fold leaves nothing to train on; 0 for the split, or at least 2")
        return self

    @property
    def fold_count(self) -> int:
        return self.folds

    @property
    def multi_label(self) -> bool:
        return self.several

    @property
    def rated(self) -> bool:
        return not self.several


CorpusSpec = Annotated[
    MeldSpec
    | IemocapSpec
    | EmoDBSpec
    | RavdessSpec
    | CremaDSpec
    | MoseiSpec
    | FeaturesCorpusSpec
    | ManifestSpec
    | StandInSpec,
    Field(discriminator="type"),
]
