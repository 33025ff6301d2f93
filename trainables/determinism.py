"""The same run gives the same bits: seeds by derivation, fixed threads, no state left over from run to run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


def derive(*parts: int | str) -> int:
    """A seed in [0, 2^63) from the parts; different parts give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def reproducible(threads: int | None = None, device: str = "cpu") -> Iterator[None]:
    """Deterministic algorithms and `threads` torch threads within; torch's state as it was afterwards.

    On the CPU the bits depend on the number of threads, so a sweep gives each trial the same. On an accelerator
    an operation without a deterministic form only warns.
    """
    accelerated = not device.startswith("cpu")
    if accelerated:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.get_num_threads()
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic: Any = torch.utils.deterministic  # its flags are properties of a module, unknown to mypy
    fill = deterministic.fill_uninitialized_memory
    with torch.random.fork_rng(devices=None if accelerated else []):
        try:
            torch.set_num_threads(threads or before)
            torch.use_deterministic_algorithms(True, warn_only=accelerated)
            # Nothing here reads memory that was not written; filling it would cost time in every step.
            deterministic.fill_uninitialized_memory = False
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
            deterministic.fill_uninitialized_memory = fill
