"""How a student is trained, whatever the method."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.spec.base import Count, Fraction, NonNegative, Positive, Probability, Spec


class TrainingSpec(Spec):
    epochs: Count = 40
    batch_size: Annotated[int, Field(ge=2)] = 64
    """The global batch, whatever the number of workers."""
    learning_rate: Positive = 1e-3
    weight_decay: NonNegative = 0.01
    warmup: Fraction = 0.1
    clip: Positive = 1.0
    """Largest norm of the gradient."""
    targets: Literal["hard", "votes"] = "hard"
    """`votes`: the cross-entropy is against the share of the raters that chose each class."""
    label_weights: Literal["none", "balanced"] = "balanced"
    """Of several labels: `balanced` weighs a label's presence by how often it is absent for each time that it is
    there, within [1, 10]."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "sqrt_inverse", "inverse"] = "none"
    modality_dropout: Probability = 0.0
    """Probability, for each utterance in training and each modality, that the student does without it; of those
    that are there one always stays."""
    patience: Annotated[int, Field(ge=0)] = 8
    """Epochs without a better dev score after which training ends; 0: never."""
    precision: Literal["float32", "bfloat16"] = "float32"
