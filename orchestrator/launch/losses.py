"""Why an attempt of a trial ended without a result, and whether that was the machine's doing."""

from __future__ import annotations

import errno
import os
import pickle
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.launch.error_lines import first_line
from trainables.errors import MachineError, PreemptedError

_OF_MACHINES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM}
)
_FULL = "No space left on device"
"""In the text of errors that libraries raise for it without the system's number."""


def machine_error(error: BaseException) -> MachineError | None:
    """The error as the machine's, where it, or what caused it, is: a full disk, a device or a store that fails."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MachineError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _OF_MACHINES:
            return MachineError(first_line(cause))
        if _FULL in str(cause):
            return MachineError(first_line(cause))
        cause = cause.__cause__
    return None


@dataclass(frozen=True)
class Loss:
    """An attempt of a trial that says nothing about the trial."""

    reason: str
    counts: bool = True
    """Whether it is one of the few that a trial may have: a machine that is taken away is nobody's fault."""
    machine: bool = True
    """Whether the trial, once it has been lost too often, is to be tried again by a later call."""
    wait: bool = False
    """Whether the next attempt should wait: what failed may be the same for it at once."""


def loss_of(trial: Any) -> Loss:
    """Of a trial that Tune has just found in error."""
    from ray.exceptions import RayActorError

    error = _error(trial)
    if error is None:
        return Loss("its process was lost: no reason given")
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, MachineError):
        preempted = isinstance(cause, PreemptedError)
        return Loss(first_line(cause), counts=not preempted, wait=not preempted)
    preempted = isinstance(cause, RayActorError) and cause.preempted
    return Loss(f"its process was lost: {first_line(cause)}", counts=not preempted)


def _error(trial: Any) -> BaseException | None:
    """What Tune has written down beside the trial's folder. (Its own getter looks where it is copied to later.)"""
    path = trial.pickled_error_file
    if path is None or not Path(path).exists():
        return None
    with Path(path).open("rb") as file:
        if not _only_ours(os.fstat(file.fileno())):
            return None
        found = pickle.load(file)
    return found if isinstance(found, BaseException) else None


def _only_ours(facts: os.stat_result) -> bool:
    """Whether this user wrote the file: Ray's folders are open to all of the machine's, and a pickle runs what it
    says."""
    return facts.st_uid == os.getuid() and not facts.st_mode & stat.S_IWOTH
