"""The few collective operations that fine-tuning needs; without a process group they do nothing.

Whoever starts the workers has initialised `torch.distributed` (gloo or nccl). Gradients are summed by hand
instead of through DDP's wrapper: every worker divides by the weight of the *global* batch, so that the sum is
the gradient of that batch however it was split.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


def is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    return dist.get_rank() if is_distributed() else 0


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its sum over the workers, in one message.

    A parameter without a gradient here counts as zero, so that all workers send the same message.
    """
    if not is_distributed():
        return
    used = [p for p in parameters if p.requires_grad]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    flat = torch.cat([p.grad.reshape(-1) for p in used if p.grad is not None])
    dist.all_reduce(flat)
    for parameter, part in zip(used, torch.split(flat, [p.numel() for p in used]), strict=True):
        assert parameter.grad is not None
        parameter.grad.copy_(part.view_as(parameter))


def summed(value: Tensor) -> Tensor:
    """The sum of a tensor over the workers."""
    if is_distributed():
        dist.all_reduce(value)
    return value


def any_worker(flag: bool, device: torch.device) -> bool:
    return bool(summed(torch.tensor([float(flag)], device=device)).item() > 0)


def barrier() -> None:
    if is_distributed():
        dist.barrier()
