"""Processes beside the driver: none outlives it, and Ctrl-C is the driver's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from orchestrator.interrupts import terminable
from trainables.processes import abandon, executor

DRIVER = """
import os, time
from trainables.processes import abandon, executor
def wait(seconds):
    print(os.getpid(), os.getppid(), flush=True)
    time.sleep(seconds)
if __name__ == "__main__":
    with executor(1, []) as pool:
        pool.submit(wait, 60).result()
"""


def blocked() -> bool:
    """Whether a Ctrl-C would pass this process by."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_passes_the_workers_by_and_still_reaches_the_driver() -> None:
    with executor(1, []) as pool:
        assert pool.submit(blocked).result()
    assert not blocked()


def test_a_killed_driver_takes_its_processes_along(tmp_path: Path) -> None:
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    driver = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=env)
    assert driver.stdout is not None
    worker, server = map(int, driver.stdout.readline().split())
    driver.kill()
    driver.wait()
    driver.stdout.close()
    for _ in range(200):
        if not (_lives(worker) or _lives(server)):
            return
        time.sleep(0.05)
    for pid in (worker, server):
        os.kill(pid, signal.SIGKILL)
    pytest.fail("a process outlived its driver")


def test_an_abandoned_pool_waits_for_nothing() -> None:
    with executor(1, []) as pool:
        future = pool.submit(time.sleep, 3600)
        while not future.running():
            time.sleep(0.01)
        abandon(pool)
    assert isinstance(future.exception(), BrokenProcessPool)


def test_sigterm_is_taken_as_ctrl_c_and_its_old_handler_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
