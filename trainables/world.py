"""Several workers on one run: the loss is that of the global batch, whatever their number.

Each rank runs the student on its slice; the outputs are gathered, every rank computes the same loss over the
whole batch (so that contrast has all its negatives), and the gradients of the slices are summed. Up to rounding
and to dropout, which each rank draws for itself, the result is that of one worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from trainables.students import StudentOutput

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class World:
    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The world of `torch.distributed` where it is initialised, else that of one worker."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def slices(self, batch: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The rows of each rank, in the order in which `gather` joins them."""
        return [batch[rank :: self.size] for rank in range(self.size)]

    def gather(self, output: StudentOutput, sizes: Sequence[int]) -> StudentOutput:
        """The outputs of all ranks end to end; gradients flow into this rank's own."""

        def whole(x: Tensor) -> Tensor:
            joined: Tensor = _Gather.apply(x, self.rank, tuple(sizes))  # type: ignore[no-untyped-call]
            return joined

        return StudentOutput(
            whole(output.logits),
            whole(output.embedding),
            {m: whole(x) for m, x in output.pooled.items()},
            {m: whole(x) for m, x in output.crossed.items()},
            {m: whole(x) for m, x in output.attention.items()},
            None if output.members is None else whole(output.members),
            {name: self.gather(view, sizes) for name, view in output.views.items()},
        )

    def combine(self, student: nn.Module, heads: nn.Module) -> None:
        """Sum the students' gradients, of one slice each; average the heads', which are of the whole batch."""
        _reduce(student.parameters(), 1.0)
        _reduce(heads.parameters(), 1.0 / self.size)

    def from_first(self, values: Sequence[float], device: str) -> list[float]:
        """The values of rank 0 on every rank."""
        if self.size == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=device)
        dist.broadcast(shared, src=0)
        return [float(v) for v in shared.tolist()]

    def any(self, flag: bool, device: str) -> bool:
        """Whether the flag is set on any rank."""
        if self.size == 1:
            return flag
        shared = torch.tensor(float(flag), device=device)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return bool(shared.item())


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rank: int, sizes: tuple[int, ...]) -> Tensor:
        start = sum(sizes[:rank])
        ctx.own = slice(start, start + sizes[rank])
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0][ctx.own].contiguous(), None, None


def _reduce(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """One message for all gradients: the sum over ranks, times `factor`."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat.mul_(factor), [g.numel() for g in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
