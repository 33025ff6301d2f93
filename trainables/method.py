"""What every method offers the loop, and what they share: the labels' loss, further terms, the curriculum."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.curriculum import difficulty, disagreement, hard_selection, pacing, soft_weights
from trainables.losses.multi_label import binary_cross_entropy, positive_weights
from trainables.losses.supervised import class_weights, cross_entropy, soft_targets
from trainables.losses.weighting import homoscedastic
from trainables.spec.method import Curriculum, Teaching
from trainables.spec.run import RunSpec
from trainables.students.base import Student, StudentOutput
from trainables.terms import TermSet
from trainables.terms.base import Setting
from trainables.transfer_set import TransferSet

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BaseMethod", "Phase", "Sampler", "Sampling", "Setting", "Step", "TeachingMethod"]

Phase = Literal["representation", "classification"]


@dataclass(frozen=True)
class Sampling:
    """Which train rows an epoch uses, and how much each counts."""

    rows: NDArray[np.int64] | None = None
    """Rows of the transfer set; None: every train row."""
    weights: NDArray[np.float32] | None = None
    """[N] over the whole transfer set; None: 1 each."""


@dataclass(frozen=True)
class Step:
    """Where training stands just before a step of the optimiser."""

    student: Student
    batch: Batch
    progress: float
    learning_rate: float
    held_out: Callable[[], Batch]
    """Draws the next batch of the rows that the method holds out."""


class BaseMethod:
    """A method is a set of weighted loss terms. Progress goes from 0 in the first epoch to 1 in the last.

    A method says its own loss in `own`; all else has a default.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting, self.run = setting, setting.run
        self.heads = nn.ModuleDict()
        """What is trained beside the student and is no part of what is exported; may be empty."""
        self._label_weights = label_weights(setting.run, setting.data, setting.rows)

    @property
    def held_out(self) -> NDArray[np.int64] | None:
        """Train rows that the student never learns from, drawn by `Step.held_out`; None: all are used."""
        return None

    def attention(self, progress: float) -> int:
        """Side of the grid of attention maps that `loss` wants in the student's output; 0: none."""
        return 0

    def given(self, batch: Batch, chance: random.Random) -> Batch:
        """What the student is given of the batch. `chance` draws the same on every worker."""
        return batch

    def views(self, batch: Batch) -> dict[str, Batch]:
        """Further forms of the batch, on which the student runs, too: `StudentOutput.views` by the same names."""
        return {}

    def before_step(self, step: Step) -> None:
        """What is adapted before a step, such as a temperature."""

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        """The method's own scalars by name, already weighted; never empty."""
        raise NotImplementedError

    def loss(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Scalars by name, already weighted: their sum is minimised."""
        return self.own(output, batch, progress)

    def phase(self, progress: float) -> Phase:
        """Dev scores count, and patience runs, in `classification` only; the last epoch is always that."""
        return "classification"

    def sampling(self, progress: float) -> Sampling:
        """The samples of the epoch at `progress`."""
        return Sampling()

    def values(self, progress: float) -> dict[str, float]:
        """What is worth plotting beside the losses: temperatures, weights."""
        return {}

    def state(self) -> dict[str, Tensor]:
        """What must be kept beside the heads for a run to go on."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave."""

    def labelled(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of logits [B, C] with the labels, or with the raters' votes where the run says so; the
        binary one where an utterance may have several labels."""
        weights = None if self._label_weights is None else self._label_weights.to(logits.device)
        training, targets = self.run.training, batch.labels
        if targets.ndim == 2:
            return binary_cross_entropy(logits, targets, weights, training.label_smoothing, batch.weights)
        if training.targets == "votes":
            assert batch.votes is not None
            targets = soft_targets(batch.votes, batch.labels)
        return cross_entropy(logits, targets, weights, training.label_smoothing, batch.weights)

    def classified(self, output: StudentOutput, batch: Batch, weight: float | Tensor = 1.0) -> dict[str, Tensor]:
        """`ce`, and beside it `members` where the student joins several classifiers: the mean of theirs."""
        terms = {"ce": weight * self.labelled(output.logits, batch)}
        if output.members is not None:
            each = [self.labelled(member, batch) for member in output.members.unbind(1)]
            terms["members"] = weight * torch.stack(each).mean()
        return terms


class TeachingMethod(BaseMethod):
    """A method with further terms, a weighting of all terms, and a curriculum (`trainables.spec.method.Teaching`).

    Further terms are of the classification phase: a representation phase has the method's own loss alone.
    """

    def __init__(self, setting: Setting, names: Sequence[str]) -> None:
        """`names`: of the terms that `own` may return."""
        super().__init__(setting)
        spec = setting.run.method
        if not isinstance(spec, Teaching):
            raise TypeError(f"method {spec.type} takes no further terms")
        self.terms = TermSet(spec.terms, setting)
        self.heads["terms"] = self.terms
        self._balance: nn.ParameterDict | None = None
        if spec.weighting == "homoscedastic":
            every = (*names, "members", *self.terms.names)
            self._balance = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in every})
            self.heads["balance"] = self._balance
        self._sampler = Sampler(spec.curriculum, setting.data, setting.rows, setting.best)

    def attention(self, progress: float) -> int:
        return self.run.features.attention_grid if self.terms.wants_maps else 0

    def loss(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        return self.joined(self.own(output, batch, progress), output, batch, progress)

    def joined(
        self, own: dict[str, Tensor], output: StudentOutput, batch: Batch, progress: float
    ) -> dict[str, Tensor]:
        """The method's own terms with the further ones, all weighed."""
        terms = dict(own)
        if self.phase(progress) == "classification":
            terms |= self.terms(output, batch, progress)
        if self._balance is None:
            return terms
        return {name: homoscedastic({name: term}, self._balance[name][None]) for name, term in terms.items()}

    def sampling(self, progress: float) -> Sampling:
        return self._sampler.at(progress)

    def values(self, progress: float) -> dict[str, float]:
        found = self.terms.values(progress)
        if self._balance is not None:
            found |= {f"log_variance/{name}": float(s.detach()) for name, s in self._balance.items()}
        return found


def label_weights(run: RunSpec, data: TransferSet, rows: NDArray[np.int64]) -> Tensor | None:
    """float32 [C] from the labels of the train rows: of classes, or of the presence of each of several labels.

    None where all weigh the same.
    """
    if data.targets is not None:
        balanced = run.training.label_weights == "balanced"
        return positive_weights(torch.from_numpy(np.asarray(data.targets[rows]))) if balanced else None
    if run.training.class_weights == "none":
        return None
    counts = np.bincount(data.label[rows], minlength=len(data.labels))
    return class_weights(counts.tolist(), run.training.class_weights)


class Sampler:
    """A curriculum over the train rows; `none` uses every row alike."""

    def __init__(self, curriculum: Curriculum, data: TransferSet, rows: NDArray[np.int64], teacher: str) -> None:
        self._curriculum, self._rows, self._total = curriculum, rows, len(data)
        if curriculum.type == "none":
            return
        self._labels = np.asarray(data.label[rows])
        if curriculum.type == "teacher_nll":
            self._difficulty = difficulty(np.asarray(data.teachers[teacher].logits[rows]), self._labels)
        else:
            assert data.votes is not None
            self._difficulty = disagreement(np.asarray(data.votes[rows]), self._labels)

    def at(self, progress: float) -> Sampling:
        if self._curriculum.type == "none":
            return Sampling()
        fraction = pacing(self._curriculum, progress)
        if fraction >= 1:
            return Sampling()
        if self._curriculum.pacing == "hard":
            return Sampling(rows=self._rows[hard_selection(self._difficulty, self._labels, fraction)])
        weights = np.ones(self._total, dtype=np.float32)
        weights[self._rows] = soft_weights(self._difficulty, self._labels, fraction, self._curriculum.softness)
        return Sampling(weights=weights)
