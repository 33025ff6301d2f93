"""What every student offers the loop, the methods and the evaluation."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.encoders import Dropout, principal_components
from trainables.errors import ArtifactError
from trainables.spec.base import Modality, in_order
from trainables.spec.student import AnyStudent
from trainables.transfer_set import StreamKind, TransferSet


@dataclass(frozen=True)
class StudentOutput:
    """What is not made is empty."""

    logits: Tensor
    """[B, C] float32"""
    embedding: Tensor
    """[B, E] float32, what the classifier reads."""
    pooled: dict[Modality, Tensor] = field(default_factory=dict)
    """[B, width] of each stream at its end."""
    crossed: dict[Modality, Tensor] = field(default_factory=dict)
    """[B, width] of each stream after the cross-attention; empty with one modality."""
    attention: dict[Modality, Tensor] = field(default_factory=dict)
    """[B, G, G] of each stream's last self-attention, averaged over heads; only where asked for."""
    members: Tensor | None = None
    """[B, M, C] logits of the classifiers that a late fusion joins."""
    views: dict[str, StudentOutput] = field(default_factory=dict)
    """Of the further views of the batch that the method asked for, by their names."""


@dataclass(frozen=True)
class Sizes:
    """What a student must know of its data to be built."""

    classes: int
    streams: dict[Modality, tuple[StreamKind, int]] = field(default_factory=dict)
    """Kind and width of each, as `trainables.transfer_set.Stream` has them."""
    teachers: dict[str, int] = field(default_factory=dict)
    """Width of each teacher's vectors, by its name."""

    @classmethod
    def of(cls, data: TransferSet) -> Sizes:
        widths = {name: int(outputs.pooled.shape[1]) for name, outputs in sorted(data.teachers.items())}
        streams = {m: (stream.kind, stream.width) for m, stream in data.streams.items()}
        return cls(len(data.labels), streams, widths)

    @classmethod
    def read(cls, facts: dict[str, Any]) -> Sizes:
        """From JSON, as `dataclasses.asdict` gives it."""
        streams = {m: (kind, width) for m, (kind, width) in facts["streams"].items()}
        return cls(facts["classes"], streams, facts["teachers"])

    @property
    def mel_bands(self) -> int:
        return self.streams["audio"][1]

    @property
    def vocabulary(self) -> int:
        return self.streams["text"][1]


@dataclass(frozen=True)
class Widths:
    """The sizes of a student's vectors, for the heads that a method puts on them."""

    embedding: int
    pooled: dict[Modality, int]
    """Of `StudentOutput.pooled`, by modality."""
    crossed: dict[Modality, int] = field(default_factory=dict)


class TokenSpec(Protocol):
    """What a spec says of its word table."""

    @property
    def token_width(self) -> int: ...
    @property
    def token_init(self) -> str: ...
    @property
    def token_training(self) -> str: ...


class Student(nn.Module):
    """Reads the streams of its modalities; what else a batch holds is ignored."""

    def __init__(self, spec: AnyStudent) -> None:
        super().__init__()
        self.spec = spec
        self.modalities = in_order(spec.modalities)

    @property
    def widths(self) -> Widths:
        raise NotImplementedError

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """`attention`: side of the grid to which the attention maps are resized; 0: none are made."""
        raise NotImplementedError

    def take_over(self, data: TransferSet) -> None:
        """Start from what the transfer set holds of the teachers, where the spec says so."""

    def renew_classifier(self, seed: int) -> None:
        """Draw the weights of `classifier` anew from `seed`; a student that has none of that name keeps all."""
        classifier = getattr(self, "classifier", None)
        if not isinstance(classifier, nn.Module):
            return
        fresh = copy.deepcopy(classifier).cpu()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for module in fresh.modules():
                if isinstance(module, nn.Linear):
                    module.reset_parameters()
        classifier.load_state_dict(fresh.state_dict())

    def fit_fusion(self, members: Tensor, labels: Tensor) -> Tensor:
        """Fit on dev what joins the members [N, M, C]; returns dev logits [N, C], each half by the other's fit.

        Called only where the output has members. Every later `forward` uses what was fitted on all of dev.
        """
        raise NotImplementedError


class Classifier(nn.Module):
    """z = W_o( W_2 drop(relu(W_1 h)) + h )"""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(width, classes)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.out(self.outer(self.dropout(self.inner(h).relu())) + h)
        return out


def take_over_table(table: nn.Embedding, spec: TokenSpec, data: TransferSet) -> None:
    """Start the word table as the leading principal components of the text teacher's, where the spec says so."""
    if spec.token_init != "teacher":
        return
    with torch.no_grad():
        table.weight.copy_(principal_components(token_table(data), spec.token_width))
    table.weight.requires_grad_(spec.token_training == "trained")


def token_table(data: TransferSet) -> Tensor:
    """[V, D] of the text teacher; ArtifactError where there is none."""
    from trainables.batching import as_tensor

    if data.token_table is None:
        raise ArtifactError(
            f"transfer set {data.fingerprint}: no token table, so student.token_init: teacher cannot be had"
        )
    return as_tensor(data.token_table)
