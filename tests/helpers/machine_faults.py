"""What a machine can do to the process that trains on it, on order and a given number of times."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def _fill() -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        full.write("x")


_FAULTS: dict[str, Callable[[], object]] = {
    "die": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda: time.sleep(3600),
    "full": _fill,
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
}


def machine_fault(fault: str, folder: Path, number: int) -> None:
    """`die`, `hang`, `full` or `term` happens to trial `number` when it first comes here; `die*` the first 3 times.

    Any other name does nothing. `folder` remembers.
    """
    kind = fault.removesuffix("*")
    if kind in _FAULTS:
        before = len(list(folder.glob(f"fault-{number}-*")))
        (folder / f"fault-{number}-{before}").touch()
        if before < (3 if fault.endswith("*") else 1):
            _FAULTS[kind]()
