"""The gradient of a held-out loss with respect to what the train loss depends on, one step of descent ahead.

MKD (Liu et al. 2022, arXiv 2202.07940), MetaDistil (Zhou et al., ACL 2022); methods reference, section 4.4:

    theta' = theta - rate * d inner(theta, phi) / d theta,    wanted: d outer(theta') / d phi

The step ahead is plain descent, without momentum, clipping or weight decay. Parameters are mappings from name to
tensor; losses are functions of them that return a scalar, and are called more than once: they must be the same
function each time (no dropout drawn anew).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Named = Mapping[str, Tensor]
Inner = Callable[[Named, Named], Tensor]
"""(theta, phi) -> the train loss"""
Outer = Callable[[Named], Tensor]
"""theta -> the held-out loss"""

DISTANCE = 0.01
"""Length in parameter space of either side of the difference (DARTS; Liu et al., ICLR 2019, section 2.3)."""


def exact(inner: Inner, outer: Outer, theta: Named, phi: Named, rate: float) -> dict[str, Tensor]:
    """The gradient for each of `phi`, through the graph of the step; 0 for one that `inner` does not use."""
    theta, phi = _leaves(theta), _leaves(phi)
    with twice_differentiable():
        slopes = _gradient(inner(theta, phi), theta, create_graph=True)
        loss = outer({name: value - rate * slopes[name] for name, value in theta.items()})
        return _gradient(loss, phi)


def first_order(inner: Inner, outer: Outer, theta: Named, phi: Named, rate: float) -> dict[str, Tensor]:
    """The same by a central difference along v = d outer(theta') / d theta', with no second derivative:

    -rate * (d inner(theta + e v, phi) / d phi - d inner(theta - e v, phi) / d phi) / 2e,    e = 0.01 / |v|
    """
    theta, phi = _leaves(theta), _leaves(phi)
    slopes = _gradient(inner(theta, {name: value.detach() for name, value in phi.items()}), theta)
    ahead = _leaves({name: value.detach() - rate * slopes[name] for name, value in theta.items()})
    v = _gradient(outer(ahead), ahead)
    norm = torch.stack([value.square().sum() for value in v.values()]).sum().sqrt()
    reach = DISTANCE / norm.clamp(min=torch.finfo(norm.dtype).tiny)
    forth, back = (
        _gradient(inner({name: value.detach() + way * reach * v[name] for name, value in theta.items()}, phi), phi)
        for way in (1.0, -1.0)
    )
    return {name: -rate * (forth[name] - back[name]) / (2 * reach).to(forth[name].device) for name in phi}


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Attention and recurrent layers by kernels whose own derivative can be derived."""
    backends: Any = torch.backends  # its flags are properties of modules, unknown to mypy
    before = backends.cudnn.enabled, backends.mkldnn.enabled
    try:
        backends.cudnn.enabled = backends.mkldnn.enabled = False
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        backends.cudnn.enabled, backends.mkldnn.enabled = before


def _leaves(values: Named) -> dict[str, Tensor]:
    return {name: value.detach().requires_grad_() for name, value in values.items()}


def _gradient(loss: Tensor, values: Named, create_graph: bool = False) -> dict[str, Tensor]:
    if not loss.requires_grad:
        return {name: torch.zeros_like(value) for name, value in values.items()}
    found = torch.autograd.grad(loss, list(values.values()), create_graph=create_graph, materialize_grads=True)
    return dict(zip(values, found, strict=True))
