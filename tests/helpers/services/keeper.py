"""Runs one command, and leaves nothing of it behind, however it or the test ends.

    keeper.py USER COMMAND...        USER: "-" or whom the command runs as

Every descendant of the command that loses its parent becomes the keeper's child, so that daemons are found too.
SIGTERM and SIGINT are passed on, and what is left after PATIENCE is killed; SIGUSR1 kills all at once, as the loss
of a machine does; so does the end of the process that started the keeper. For Linux; stands alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PATIENCE = 20.0  # seconds
LOOK = 0.5  # seconds between two looks whether the parent lives
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD}


def descendants() -> set[int]:
    """All of this process's, by /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    ahead = [os.getpid()]
    while ahead:
        for child in children.get(ahead.pop(), []):
            if child not in found:
                found.add(child)
                ahead.append(child)
    return found


def reap() -> dict[int, int]:
    """Exit statuses of the children that ended, by process id."""
    ended: dict[int, int] = {}
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            ended[pid] = os.waitstatus_to_exitcode(status)
    return ended


def kill_all(command: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(command, signal.SIGKILL)
    while left := descendants():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.02)


def keep(command: int, parent: int) -> int:
    """Until the command ends or is to end; returns its exit status, -9 where it was killed."""
    deadline = float("inf")
    while time.monotonic() < deadline and os.getppid() == parent:
        sign = signal.sigtimedwait(SIGNALS, LOOK)
        ended = reap()
        if command in ended:
            return ended[command]
        if sign is None or sign.si_signo == signal.SIGCHLD:
            continue
        if sign.si_signo == signal.SIGUSR1:
            break
        with suppress(ProcessLookupError):
            os.killpg(command, sign.si_signo)
        deadline = min(deadline, time.monotonic() + PATIENCE)
    return -signal.SIGKILL


def main(user: str, command: list[str]) -> int:
    parent, owner = os.getppid(), None if user == "-" else user
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    process = subprocess.Popen(
        command,
        start_new_session=True,
        user=owner,
        group=owner,
        extra_groups=[] if owner else None,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 (no thread is here)
    )
    try:
        status = keep(process.pid, parent)
    finally:
        kill_all(process.pid)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
