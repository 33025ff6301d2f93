"""A server's process: its log in a file, ended with its whole process group, and never outliving the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 120.0  # seconds that a server may take to start, on a machine that has much else to do


class ServiceError(RuntimeError):
    """A server did not start; says the end of its log."""


def free_port(host: str = "127.0.0.1") -> int:
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
    return port


def listens(host: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command, killed when the thread that starts it ends, where the machine has util-linux's setpriv."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *command] if setpriv else list(command)


def launch(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, user: str | None = None
) -> subprocess.Popen[bytes]:
    """A session of its own, with `environment` over ours; what it prints goes to the end of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            dying_with_us(command),
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            user=user,
            group=user,
            extra_groups=[] if user else None,
            start_new_session=True,
        )


def await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Raises ServiceError where the process ends, or is not `ready()` in time."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            what = f"ended with {ended}" if ended is not None else f"was not ready in {PATIENCE:.0f} s"
            end(process)
            raise ServiceError(f"{process.args!r} {what}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM, patience: float = 20) -> None:
    """Ends the process and all of its session that kept its group; by SIGKILL what does not go in `patience`."""
    for sign in (how, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


@contextmanager
def running(
    command: Sequence[str],
    log: Path,
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
    *,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    process = launch(command, log, environment, user=user)
    try:
        await_ready(process, ready, log)
        yield process
    finally:
        end(process)
