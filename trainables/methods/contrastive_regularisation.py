"""S5, contrastive regularisation (Qian & Han 2022; methods reference, section 5).

The loss is the authors'; pairs are those of the abstract, of same and of different emotions (what their code does
is `negatives: shuffle`), and their discriminator is not public (`trainables.terms.pairs`).

`stages: three`: the unimodal nets are trained side by side for a quarter of the epochs (at the default `before`),
then for another quarter the classifier of both by the labels alone, then the whole with a fresh classifier. Only
this last stage's dev scores count. The optimiser goes on through all three, with the moments that it has. A student
of one modality has neither pairs nor stages: it learns from the labels alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.determinism import derive
from trainables.encoders import Dropout
from trainables.method import Phase, Setting, Step, TeachingMethod
from trainables.schedules import value
from trainables.spec.method import ContrastiveRegularisation
from trainables.spec.schedule import is_used
from trainables.students.base import StudentOutput
from trainables.terms.pairs import PairsLoss


class ContrastiveRegularisationMethod(TeachingMethod):
    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, ("ce", *(f"ce_{m}" for m in setting.widths.pooled), "regulariser"))
        assert isinstance(setting.run.method, ContrastiveRegularisation)
        self._spec, widths = setting.run.method, setting.widths.pooled
        self._pairs = PairsLoss(self._spec.regulariser, setting)
        self._regular = self._pairs.speaks and is_used(self._spec.alpha)
        if self._regular:
            self.heads["pairs"] = self._pairs
        self._staged = self._spec.stages == "three" and len(widths) > 1
        self._alone = nn.ModuleDict()
        if self._staged:
            classes, drop = len(setting.data.labels), setting.run.student.dropout
            self._alone = nn.ModuleDict(
                {m: nn.Sequential(Dropout(drop), nn.Linear(width, classes)) for m, width in widths.items()}
            )
            self.heads["alone"] = self._alone
        self._renewed = not self._staged

    def phase(self, progress: float) -> Phase:
        return "representation" if self._stage(progress) < 3 else "classification"

    def before_step(self, step: Step) -> None:
        if not self._renewed and self._stage(step.progress) == 3:
            step.student.renew_classifier(derive(self.run.seed, "third stage"))
            self._renewed = True

    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        stage = self._stage(progress)
        if stage == 1:
            return {
                f"ce_{m}": self.labelled(head(output.pooled[m]), batch)  # type: ignore[index]
                for m, head in self._alone.items()
            }
        if stage == 2 or not self._regular:
            return self.classified(output, batch)
        alpha = value(self._spec.alpha, progress)
        regulariser = alpha * self._pairs(output, batch, progress)
        return {**self.classified(output, batch, 1 - alpha), "regulariser": regulariser}

    def values(self, progress: float) -> dict[str, float]:
        return {"alpha": value(self._spec.alpha, progress) if self._regular else 0.0, **super().values(progress)}

    def state(self) -> dict[str, Tensor]:
        return {"renewed": torch.tensor(self._renewed)}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._renewed = bool(state["renewed"])

    def _stage(self, progress: float) -> int:
        before = self._spec.before
        return 3 if not self._staged or progress >= before else 2 if progress >= before / 2 else 1
