"""A server's process: its log in a file, ended with all its descendants, and never outliving the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

KEEPER = [sys.executable, "-I", "-S", str(Path(__file__).with_name("keeper.py"))]
PATIENCE = 180.0  # seconds that a server may take to start, on a machine that has much else to do


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


def launch(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, *, user: str | None = None
) -> subprocess.Popen[bytes]:
    """The command under a keeper (see keeper.py), with `environment` over ours; to be ended by `end`.

    The keeper's exit status is the command's, or 128 + N where signal N killed it.
    """
    if sys.platform != "linux":
        pytest.skip("the keeper of the tests' processes needs Linux")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            [*KEEPER, user or "-", *command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """Of what was launched, all: by SIGKILL at once, else what is left after the keeper's patience."""
    if process.poll() is None:
        process.send_signal(signal.SIGUSR1 if how == signal.SIGKILL else how)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


class Service:
    """A command that runs inside the `with`, or between `start` and `stop`.

    `ready` says whether it may be used, None: at once. `environment` stands over ours. `log` grows over restarts.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: Callable[[], bool] | None = None,
        environment: Mapping[str, str] | None = None,
        *,
        user: str | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self.environment = dict(environment or {})
        self._ready = ready
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The keeper's; raises ServiceError where it was never started."""
        if self._process is None:
            raise ServiceError(f"{self.command} was never started")
        return self._process.pid

    def start(self) -> None:
        """Raises ServiceError where the command ends, or is not ready in PATIENCE."""
        if self.running:
            return
        self._process = launch(self.command, self.log, self.environment, user=self._user)
        try:
            self._await_ready()
        except BaseException:
            self.kill()
            raise

    def wait(self, seconds: float) -> int:
        """The command's exit status; TimeoutExpired where it goes on. 128 + N: killed by signal N."""
        return self._process.wait(seconds) if self._process else 0

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            end(self._process, how)

    def kill(self) -> None:
        """SIGKILL to all its processes at once."""
        self.stop(signal.SIGKILL)

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def _await_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while self._ready is not None and not self._ready():
            late = time.monotonic() > deadline
            if late or not self.running:
                what = f"was not ready in {PATIENCE:.0f} s" if late else f"ended with {self.wait(1)}"
                raise ServiceError(f"{self.command} {what}:\n{self.output()[-3000:]}")
            time.sleep(0.05)
