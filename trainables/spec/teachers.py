"""The teachers: pretrained encoders fine-tuned on the corpus, and a fusion head over their frozen features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from trainables.spec.base import (
    MODALITIES,
    Count,
    Fraction,
    Modality,
    NonNegative,
    Positive,
    Probability,
    Spec,
    TeacherName,
)
from trainables.spec.multi_level import MultiLevelShape
from trainables.spec.needs import Granularity


class FineTuning(Spec):
    """How a teacher is fine-tuned. The batch is the global one, whatever the number of workers."""

    epochs: Count = 4
    batch_size: Count = 32
    learning_rate: Positive = 2e-5
    head_learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 0.01
    warmup: Fraction = 0.1
    clip: Positive = 1.0
    class_weights: Literal["none", "sqrt_inverse", "inverse"] = "none"
    label_smoothing: Probability = 0.0
    precision: Literal["auto", "float32"] = "auto"
    """`auto`: bfloat16 on a GPU that has it, float32 elsewhere."""
    seed: int = 0


class Pretrained(Spec):
    """A checkpoint of `transformers`: a hub name or a local folder with `config.json` and safetensors."""

    type: Literal["pretrained"] = "pretrained"
    checkpoint: str
    revision: str | None = None


class Scratch(Spec):
    """A small model of the same `transformers` classes, trained from random weights."""

    type: Literal["scratch"] = "scratch"
    width: Count = 96
    layers: Count = 2
    heads: Count = 4
    vocabulary: Count = 2000
    """Word pieces learned on the train split (text only)."""


Encoder = Annotated[Pretrained | Scratch, Field(discriminator="type")]


class EncoderTeacher(Spec):
    """An encoder with a learned weighting over its layers, masked mean pooling and a linear head."""

    encoder: Encoder
    dropout: Probability = 0.1
    layer_weighting: bool = True
    """Pool a learned softmax-weighted sum of all layers (else the last one)."""
    training: FineTuning = FineTuning()


class AudioTeacher(EncoderTeacher):
    """wav2vec 2.0 or HuBERT; the convolutional front end of a pretrained one is never trained."""

    encoder: Encoder = Pretrained(checkpoint="facebook/wav2vec2-base")


class VisualTeacher(EncoderTeacher):
    """A ViT (or an image encoder of its form) over each of some frames of the utterance; they are its sequence."""

    encoder: Encoder = Pretrained(checkpoint="google/vit-base-patch16-224-in21k")
    frames: Annotated[int, Field(ge=1, le=64)] = 8
    """At most so many of an utterance's frames, spread evenly, which bounds memory."""
    training: FineTuning = FineTuning(learning_rate=3e-5)


class TextTeacher(EncoderTeacher):
    """BERT or RoBERTa (or any encoder of their form)."""

    encoder: Encoder = Pretrained(checkpoint="bert-base-uncased")
    training: FineTuning = FineTuning(learning_rate=5e-5)


class CoAttentionFusion(Spec):
    """Co-attention over the frozen sequences of all other teachers, two or three (derived, not CMD's)."""

    type: Literal["co_attention"] = "co_attention"
    width: Count = 256
    layers: Count = 1
    heads: Count = 4
    dropout: Probability = 0.2
    training: FineTuning = FineTuning(epochs=10, learning_rate=5e-4, head_learning_rate=5e-4)

    @property
    def segments(self) -> tuple[Granularity, ...]:
        """What it reads of an alignment."""
        return ()

    @model_validator(mode="after")
    def _heads(self) -> CoAttentionFusion:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class MultiLevelTeacher(MultiLevelShape):
    """S2 as a teacher: co-attention at each granularity of speech over the other two teachers' sequences.

    Its word is the mean of its members' probabilities: weights fitted on dev would flatter its own dev scores. It
    reads every frame, where `co_attention` reads ten a second.
    """

    type: Literal["multi_level"] = "multi_level"
    width: Count = 256
    training: FineTuning = FineTuning(epochs=10, learning_rate=5e-4, head_learning_rate=5e-4)


FusionTeacher = Annotated[CoAttentionFusion | MultiLevelTeacher, Field(discriminator="type")]


class TeachersSpec(Spec):
    audio: AudioTeacher | None = AudioTeacher()
    text: TextTeacher | None = TextTeacher()
    visual: VisualTeacher | None = None
    fusion: FusionTeacher | None = CoAttentionFusion()

    @model_validator(mode="after")
    def _fusion_inputs(self) -> TeachersSpec:
        if self.fusion and len(self.alone) < 2:
            raise ValueError("the fusion teacher reads two other teachers at least: name them, or fusion: null")
        if isinstance(self.fusion, MultiLevelTeacher) and self.alone != ("audio", "text"):
            raise ValueError(
                f"fusion.type: multi_level reads an audio and a text teacher and no other, and there are "
                f"{', '.join(self.alone)}; take co_attention"
            )
        return self

    @property
    def alone(self) -> tuple[Modality, ...]:
        """The teachers of one modality, in the order of MODALITIES; what a fusion teacher reads."""
        return tuple(m for m in MODALITIES if getattr(self, m) is not None)

    @property
    def names(self) -> tuple[TeacherName, ...]:
        """The teachers present, each after those that it reads."""
        return (*self.alone, "fusion") if self.fusion else self.alone

    @property
    def best(self) -> TeacherName:
        """The teacher whose logits are distilled: the fusion teacher, else the text, the audio, the visual one."""
        return "fusion" if self.fusion else "text" if self.text else "audio" if self.audio else "visual"
