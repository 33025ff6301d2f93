"""The students as data: what each reads, how large it is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from trainables.spec.base import MODALITIES, Count, Modality, Probability, Spec
from trainables.spec.multi_level import Late, MultiLevelShape
from trainables.spec.needs import Needs


class AnyStudent(Spec):
    """What every student says of itself."""

    attends: ClassVar[bool] = False
    """Whether it makes maps of self-attention over time, which a teacher's can be compared with."""
    reads: ClassVar[tuple[Modality, ...]] = ("audio", "text")
    """The modalities that it can read."""
    reads_vectors: ClassVar[bool] = False
    """Whether it can read any sequence of vectors in the place of sound, words and pictures."""

    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio", "text")

    @property
    def needs(self) -> Needs:
        """What it reads in its forward pass beside its own features."""
        return Needs()

    @property
    def reads_features(self) -> bool:
        """Whether it reads log-mel frames and word pieces (else only what `needs` says)."""
        return True

    @model_validator(mode="after")
    def _modalities(self) -> AnyStudent:
        if len(set(self.modalities)) != len(self.modalities):
            raise ValueError(f"modalities {list(self.modalities)}: name each at most once")
        unread = [m for m in self.modalities if m not in self.reads]
        if unread:
            raise ValueError(
                f"modalities {list(self.modalities)}: this student reads {', '.join(self.reads)}; for "
                f"{', '.join(unread)} take student.type: cross_modal_transformer"
            )
        return self


def _table(init: str, training: str) -> None:
    if training == "frozen" and init == "random":
        raise ValueError("token_training: frozen would keep a random table; set token_init: teacher")


def _divisible(width: int, heads: int) -> None:
    if width % heads:
        raise ValueError(f"width {width} is not divisible by heads {heads}")


class CrossAttending(AnyStudent):
    """What the students share whose streams attend to each other, and then to themselves."""

    attends: ClassVar[bool] = True

    width: Count = 64
    cross_layers: Annotated[int, Field(ge=0)] = 2
    self_layers: Count = 2
    heads: Count = 4
    feedforward_ratio: Count = 4
    dropout: Probability = 0.1
    embedding_dropout: Probability = 0.2
    word_dropout: Probability = 0.0
    """Probability that a word piece is blanked in training: the teacher still speaks of the whole text."""
    audio_stride: Literal[2, 4, 8] = 4
    """Total stride of the convolutions over 10 ms frames; vectors in their place are taken step by step."""
    token_width: Count = 64
    """Width of the factorised token table: vocabulary x token_width, then token_width -> width."""
    token_init: Literal["random", "teacher"] = "random"
    """`teacher`: the table starts as the leading principal components of the text teacher's own table."""
    token_training: Literal["trained", "frozen"] = "trained"
    """`frozen`: the table stays as it starts, so that a small corpus cannot bend it; needs token_init: teacher."""
    pooling: Literal["mean", "attention"] = "mean"

    @model_validator(mode="after")
    def _shape(self) -> CrossAttending:
        _divisible(self.width, self.heads)
        _table(self.token_init, self.token_training)
        return self


class AudioTextTransformer(CrossAttending):
    """CMD's student: cross-attention between the streams, then self-attention within each (S1, section 1.2).

    With one modality the cross-attention blocks fall away and the rest stays the same.
    """

    type: Literal["audio_text_transformer"] = "audio_text_transformer"


class InvertedTransformer(AnyStudent):
    """S4's student: every feature channel's whole time course is one token (methods reference, section 4.3).

    Its cost does not depend on how long the utterance is; at 80 bands the defaults make 2.5 million parameters.
    """

    reads: ClassVar[tuple[Modality, ...]] = ("audio",)

    type: Literal["inverted_transformer"] = "inverted_transformer"
    modalities: tuple[Literal["audio"]] = ("audio",)
    width: Count = 256
    layers: Count = 3
    heads: Count = 8
    feedforward_ratio: Count = 4
    dropout: Probability = 0.1
    length: Count = 300
    """Steps to which an utterance's frames are brought by adaptive average pooling."""
    normalisation: Literal["instance", "none"] = "instance"
    """`instance`: each band has mean 0 and variance 1 within the utterance, as in iTransformer, which forgets how
    loud it was; `none`: only what the features have, of the train split."""
    pooling: Literal["mean", "attention", "cls"] = "mean"
    tokens: Literal["variate", "query"] = "variate"
    """`query`: the other reading, learned queries that look at the time steps."""
    queries: Count = 16

    @model_validator(mode="after")
    def _shape(self) -> InvertedTransformer:
        _divisible(self.width, self.heads)
        return self


class MultiLevelFusion(MultiLevelShape, AnyStudent):
    """S2: wav2vec 2.0 and BERT embeddings, co-attention for each granularity, late fusion (section 2.2).

    It reads the teachers' sequences, so that its size and latency are those of what comes after the two encoders.
    With audio alone each level classifies its pooled embeddings; with text alone the text's classifier is all.
    """

    type: Literal["multi_level_fusion"] = "multi_level_fusion"
    late: Late = "weights"
    """How the members are fused; all but `mean` are fitted on dev."""

    @property
    def needs(self) -> Needs:
        segments = self.segments if "audio" in self.modalities else ()
        return Needs(frames=True, segments=segments, one_label=True)

    @property
    def reads_features(self) -> bool:
        return False


class CnnLstm(AnyStudent):
    """S5's network: a CNN over the log-mel image and an attentive LSTM over the words (section 5)."""

    type: Literal["cnn_lstm"] = "cnn_lstm"
    filters: Count = 8
    frames: Count = 128
    """Steps to which an utterance's frames are brought before the convolutions."""
    blocks: Annotated[int, Field(ge=1, le=6)] = 4
    """Convolution, ReLU, max-pool by 2."""
    audio_dropout: Probability = 0.5
    token_width: Count = 64
    lstm_width: Count = 200
    bidirectional: bool = False
    word_dropout: Probability = 0.0
    text_dropout: Probability = 0.4
    dropout: Probability = 0.5
    """Before the classifier of both."""
    token_init: Literal["random", "teacher"] = "random"
    """`teacher`: the table starts as the leading principal components of the text teacher's own table."""
    token_training: Literal["trained", "frozen"] = "trained"

    @model_validator(mode="after")
    def _known(self) -> CnnLstm:
        _table(self.token_init, self.token_training)
        return self


class CrossModalTransformer(CrossAttending):
    """S3's student: any of its modalities may be missing, and a learned token then stands for it (section 3.2).

    Each stream attends to all the others, then `self_layers` are over all streams end to end, with the same weights
    for each; one modality alone runs the same way, beside the tokens of those that miss.
    """

    reads: ClassVar[tuple[Modality, ...]] = MODALITIES
    reads_vectors: ClassVar[bool] = True

    type: Literal["cross_modal_transformer"] = "cross_modal_transformer"
    modalities: Annotated[tuple[Modality, ...], Field(min_length=1)] = ("audio", "visual")
    image_filters: Count = 16
    """Of the first of the three convolutions over each picture; twice and four times as many in the others."""


StudentSpec = Annotated[
    AudioTextTransformer | InvertedTransformer | MultiLevelFusion | CnnLstm | CrossModalTransformer,
    Field(discriminator="type"),
]
