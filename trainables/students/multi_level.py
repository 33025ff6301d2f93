"""S2's student: the network of `trainables.multi_level` over the teachers' sequences, and its late fusion.

The members learn side by side, each by its own cross-entropy and all by that of their mean; what joins them then is
fitted on dev and kept in a buffer, so that the exported student has it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainables.batching import Batch
from trainables.errors import ArtifactError
from trainables.late_fusion import cross_fitted, fit, fused, start
from trainables.multi_level import Masked, MultiLevelNetwork
from trainables.spec.base import Modality
from trainables.spec.multi_level import Late
from trainables.spec.student import MultiLevelFusion
from trainables.students.base import Sizes, Student, StudentOutput, Widths


class LateFusion(nn.Module):
    """The plain mean while training; what was fitted on dev, the plain mean until then, in evaluation."""

    def __init__(self, kind: Late, members: int, classes: int) -> None:
        super().__init__()
        self.kind = kind
        self.register_buffer("fitted", start(kind, members, classes).float())
        self.fitted: Tensor

    def forward(self, members: Tensor) -> Tensor:
        """[B, M, C] -> [B, C]"""
        return fused("mean" if self.training else self.kind, self.fitted, members)


class MultiLevelStudent(Student):
    spec: MultiLevelFusion

    def __init__(self, spec: MultiLevelFusion, sizes: Sizes) -> None:
        super().__init__(spec)
        absent = [m for m in self.modalities if m not in sizes.teachers]
        if absent:
            raise ArtifactError(
                f"student {spec.type} reads the sequences of the {absent[0]} teacher, and the transfer set has "
                f"only {', '.join(sizes.teachers) or 'none'}; set teachers.{absent[0]}, or student.modalities"
            )
        widths: dict[Modality, int] = {m: sizes.teachers[m] for m in self.modalities}
        self.network = MultiLevelNetwork(spec, widths, sizes.classes)
        self.late = LateFusion(spec.late, len(self.network.members), sizes.classes)

    @property
    def widths(self) -> Widths:
        each = dict.fromkeys(self.modalities, self.spec.width)
        return Widths(self.spec.width * len(each), each, each if len(each) > 1 else {})

    def forward(self, batch: Batch, attention: int = 0) -> StudentOutput:
        """`pooled` and `crossed` are the same, as nothing follows the co-attention; there are no maps."""
        segments: dict[str, Masked] = {g: (s.spans, s.mask) for g, s in batch.segments.items()}
        found = self.network({m: _sequence(batch, m) for m in self.modalities}, segments)
        embedding = torch.cat(list(found.pooled.values()), dim=1)
        crossed = found.pooled if len(self.modalities) > 1 else {}
        logits = self.late(found.members)
        return StudentOutput(logits, embedding, found.pooled, crossed, members=found.members)

    def fit_fusion(self, members: Tensor, labels: Tensor) -> Tensor:
        self.late.fitted.copy_(fit(self.spec.late, members, labels))
        return cross_fitted(self.spec.late, members, labels)


def _sequence(batch: Batch, modality: Modality) -> Masked:
    teacher = batch.teachers[modality]
    assert teacher.frames is not None and teacher.frame_mask is not None
    return teacher.frames, teacher.frame_mask
