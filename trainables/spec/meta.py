"""What S4 learns beside the student's weights, as data (methods reference, section 4.4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trainables.spec.base import Count, Positive, Spec

Learned = Literal["temperature", "kd_weight", "contrast_weight"]
TAU_RANGE, ALPHA_RANGE = (0.5, 20.0), (0.05, 0.95)
"""Within which the meta step keeps a temperature, and the weight of the distillation."""


class MetaStep(Spec):
    """What is learned by the loss on held-out train rows, one step of the student ahead (MKD; section 4.4)."""

    enabled: bool = True
    """False: what it would learn stays where it starts, and no row is held out."""
    gradient: Literal["exact", "first_order"] = "exact"
    """`exact`: through the unrolled step; `first_order`: by finite differences along the held-out gradient."""
    parameters: Literal["all", "head_and_last"] = "head_and_last"
    """Of the student, which the unrolled step moves: all, or the classifier and the last block alone."""
    every: Count = 2
    """Steps of training from one meta step to the next."""
    held_out: Annotated[float, Field(ge=0.05, le=0.1)] = 0.05
    """Share of the train rows that the student never learns from, by class and, where possible, by dialogue."""
    learning_rate: Positive = 0.01
    """Of Adam on the logarithms of the temperatures and of the contrast's weight, and on the logit of alpha."""
    teacher_learning_rate: Positive = 1e-3
    """Of Adam on a live teacher."""


class CTKD(Spec):
    """A temperature that is learned against the student (Li et al., AAAI 2023): low + span sigmoid(w)."""

    low: Positive = 1.0
    span: Positive = 20.0
    start: float = 1.0
    """w where it starts: at the defaults a temperature of 15.6."""
    grow: Annotated[float, Field(gt=0, le=1)] = 0.25
    """Fraction of training over which the reversal of the gradient grows from none to full."""
    hidden: Count = 64
    """Width of the network that makes an instance's temperature."""
