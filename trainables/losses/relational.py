"""What the samples of a batch are to each other: RKD and TelME's similarities (methods reference, section 6.1).

Embeddings are [batch, width]; the teacher's may have another width and receive no gradient. As in RKD's paper,
pairs and triplets are of different samples (its code also counts a sample with itself, which adds zeros).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 of the distances of pairs, each side divided by its mean distance; mean over the pairs.

    Park et al., CVPR 2019, equation 6; their weight is 25. A batch of one gives 0. A side whose samples are all
    equal has distances of 0; equal samples receive no gradient through their distance.
    """
    pairs = _apart(len(student), student.device)
    loss = F.smooth_l1_loss(_distances(student), _distances(teacher.detach()), reduction="none")
    return loss.masked_fill(~pairs, 0.0).sum() / max(len(student) * (len(student) - 1), 1)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    """Smooth L1 of the cosines of the angles of triplets, mean over the triplets.

    Park et al., CVPR 2019, equation 8; their weight is 50. Fewer than three samples give 0. Derived: an angle at
    which two of the teacher's samples are equal (utterances of the same words) is none and contributes 0.
    Memory and time grow with batch^3.
    """
    rows = len(student)
    (s, _), (t, exists) = _angles(student), _angles(teacher.detach())
    apart = _apart(rows, student.device)
    triplets = apart[:, :, None] & apart[:, None, :] & apart & exists
    loss = F.smooth_l1_loss(s, t, reduction="none").masked_fill(~triplets, 0.0)
    return loss.sum() / max(rows * (rows - 1) * (rows - 2), 1)


def telme(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(T T' / t) || softmax(T S' / t)) of the rows in nats, mean over the batch; rows L2-normalised.

    TelME's feature loss (Yun, Lim and Lee, NAACL 2024). Both have one width.
    """
    t = F.normalize(teacher.detach(), dim=-1)
    target = F.log_softmax(t @ t.T / temperature, dim=-1)
    found = F.log_softmax(t @ F.normalize(student, dim=-1).T / temperature, dim=-1)
    return F.kl_div(found, target, reduction="batchmean", log_target=True)


def _apart(rows: int, device: torch.device) -> Tensor:
    """bool [batch, batch]: True where the row and the column are different samples."""
    return ~torch.eye(rows, dtype=torch.bool, device=device)


def _distances(x: Tensor) -> Tensor:
    """[batch, batch], divided by the mean over pairs. From differences: a product would cancel for near samples."""
    square = (x[:, None] - x[None, :]).square().sum(dim=-1)
    # The root's slope at 0 is infinite, and infinity times 0 no number.
    equal = square == 0
    distance = square.masked_fill(equal, 1.0).sqrt().masked_fill(equal, 0.0)
    mean = distance.sum() / max(len(x) * (len(x) - 1), 1)
    return distance / mean.masked_fill(mean == 0, 1.0)


def _angles(x: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine at sample j between i and k [batch j, batch i, batch k], and whether there is such an angle."""
    difference = x[None, :] - x[:, None]
    square = difference.square().sum(dim=-1, keepdim=True)
    equal = square == 0
    unit = (difference / square.masked_fill(equal, 1.0).sqrt()).masked_fill(equal, 0.0)
    exists = ~equal[..., 0]
    return unit @ unit.transpose(1, 2), exists[:, :, None] & exists[:, None, :]
