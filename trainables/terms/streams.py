"""Terms on a modality's own stream and its own teacher; the mean over the modalities that have one."""

from __future__ import annotations

from torch import Tensor, nn

from trainables.batching import Batch
from trainables.losses.attention import attention_transfer
from trainables.losses.hint import hint
from trainables.spec.terms import AttentionTransfer, Hint
from trainables.students.base import StudentOutput
from trainables.terms.base import Setting, TermLoss, nothing, stacked_mean


class HintLoss(TermLoss):
    """A linear regressor a modality, from the student's pooled vector to its teacher's."""

    def __init__(self, spec: Hint, setting: Setting) -> None:
        super().__init__()
        widths = setting.widths.pooled
        self._taught = setting.taught
        self.regressors = nn.ModuleDict({m: nn.Linear(widths[m], setting.teacher_width(m)) for m in self._taught})

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        if not self._taught:
            return nothing(output)
        pairs = [(self.regressors[m](output.pooled[m]), batch.teachers[m].pooled) for m in self._taught]
        return stacked_mean([hint(found, wanted, batch.weights) for found, wanted in pairs])


class AttentionLoss(TermLoss):
    """Without a map over time, of the student's or the teacher's, there is nothing to compare."""

    def __init__(self, spec: AttentionTransfer, setting: Setting) -> None:
        super().__init__()
        self._taught = setting.taught if setting.run.student.attends else ()

    def forward(self, output: StudentOutput, batch: Batch, progress: float) -> Tensor:
        maps = [(output.attention[m], batch.teachers[m].attention) for m in self._taught if m in output.attention]
        found = [attention_transfer(own, theirs) for own, theirs in maps if theirs is not None]
        return stacked_mean(found) if found else nothing(output)
