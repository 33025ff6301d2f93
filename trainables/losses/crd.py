"""Contrastive representation distillation (Tian, Krishnan and Isola, ICLR 2020; methods reference, section 6.1)."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

_MOST = 1024


def crd(
    positive: Tensor,
    negative: Tensor,
    log_z: Tensor | float,
    data_size: int,
    *,
    kept: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """One direction: -log(h / (h + K/N)) of the pair - sum over K negatives of log((K/N) / (h + K/N)), mean.

    positive: [batch], negative: [batch, K], both u . v / tau; h = exp(score) / Z with the constant Z = exp(log_z).
    data_size: N, the samples from which negatives are drawn. `kept`: bool [batch, K], False where a negative is
    none; K then is a row's own count, and a row without a negative gives 0. `weights` [batch] multiply the
    samples' terms and leave the divisor as it is. In nats, at least 0.
    """
    counts = torch.full_like(positive, negative.shape[1]) if kept is None else kept.sum(dim=1).to(positive.dtype)
    # log h - log(K/N): the logit of "drawn together", so that nothing overflows.
    noise = counts.clamp(min=1).log() - log(data_size) + log_z
    of_negatives = F.softplus(negative - noise[:, None])
    if kept is not None:
        of_negatives = of_negatives.masked_fill(~kept, 0.0)
    loss = (F.softplus(noise - positive) + of_negatives.sum(dim=1)).masked_fill(counts == 0, 0.0)
    return loss.mean() if weights is None else (loss * weights).mean()


class CRDBank(nn.Module):
    """A vector of either side for every sample, and the constants Z; the state is in buffers.

    Negatives are other samples, drawn evenly and with repetition on the CPU, so that an accelerator draws the
    same. Z is N times the first batch's mean of exp(score). While training a sample's own vectors move towards
    those seen: m old + (1 - m) new, L2-normalised.
    """

    memory_student: Tensor
    memory_teacher: Tensor
    log_z: Tensor
    text_hash: Tensor | None

    def __init__(
        self,
        samples: int,
        width: int = 128,
        *,
        negatives: int = 256,
        temperature: float = 0.07,
        momentum: float = 0.5,
        text_hash: Tensor | None = None,
    ) -> None:
        """`text_hash` [samples]: a sample of equal text is no negative; None: each but the sample itself is one.

        ValueError where there are fewer than two samples or not 1 to 1024 negatives, as [batch, K, width] is held.
        """
        super().__init__()
        if samples < 2 or not 1 <= negatives <= _MOST:
            raise ValueError(f"{samples} samples, {negatives} negatives: from 2 samples and 1 to {_MOST} negatives")
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum
        for side in ("memory_student", "memory_teacher"):
            self.register_buffer(side, F.normalize(2 * torch.rand(samples, width) - 1, dim=1))
        self.register_buffer("log_z", torch.full((2,), torch.nan))
        self.register_buffer("text_hash", text_hash, persistent=False)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        index: Tensor,
        weights: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The sum of both directions, each `crd`.

        student, teacher: [batch, width], projected, L2-normalised here; both receive gradients (the projections
        learn, a frozen teacher does not). index: int64 [batch], the samples' places in the bank. `generator` (of
        the CPU; None: torch's own) draws the negatives.
        """
        u, v = (F.normalize(x.to(self.log_z.dtype), dim=1) for x in (student, teacher))
        drawn = self.draw(index, generator)
        forth = self._scores(u, self.memory_teacher, index, drawn)
        back = self._scores(v, self.memory_student, index, drawn)
        self._set_constants(forth, back)
        kept = None if self.text_hash is None else self.text_hash[drawn] != self.text_hash[index][:, None]
        total = u.new_zeros(())
        for scores, log_z in zip((forth, back), self.log_z.clone(), strict=True):
            positive, negative = scores[:, 0], scores[:, 1:]
            total = total + crd(positive, negative, log_z, len(self.memory_student), kept=kept, weights=weights)
        if self.training:
            self._remember(u, v, index)
        return total

    def draw(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """int64 [batch, negatives]: for each sample, places other than its own."""
        others = len(self.memory_student) - 1
        drawn = torch.randint(others, (len(index), self.negatives), generator=generator).to(index.device)
        return drawn + (drawn >= index[:, None])

    def _scores(self, anchors: Tensor, memory: Tensor, index: Tensor, drawn: Tensor) -> Tensor:
        """[batch, 1 + negatives], the positive first."""
        candidates = memory[torch.cat([index[:, None], drawn], dim=1)]
        return (candidates @ anchors[:, :, None]).squeeze(2) / self.temperature

    @torch.no_grad()
    def _set_constants(self, *scores: Tensor) -> None:
        samples = len(self.memory_student)
        first = torch.stack([s.logsumexp(dim=(0, 1)) + log(samples / s.numel()) for s in scores])
        self.log_z.copy_(torch.where(self.log_z.isnan(), first, self.log_z))

    @torch.no_grad()
    def _remember(self, u: Tensor, v: Tensor, index: Tensor) -> None:
        for memory, new in ((self.memory_student, u), (self.memory_teacher, v)):
            mixed = self.momentum * memory[index] + (1 - self.momentum) * new
            memory[index] = F.normalize(mixed, dim=1)
