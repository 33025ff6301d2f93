"""SIGTERM where Ray has put a handler of its own, and an address without a cluster."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from orchestrator.errors import SettingsError
from orchestrator.launch.cluster import connected

SCRIPT = """
import os, signal, sys, time
from orchestrator.errors import Interrupted
from orchestrator.launch.cluster import connected
try:
    with connected(None, cpus=1):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except Interrupted as error:
    sys.exit(error.exit_code)
"""


def test_sigterm_ends_any_stage_as_ctrl_c_does() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 130, done.stderr[-2000:]
    assert "SIGTERM" not in done.stdout + done.stderr


def test_an_address_where_nobody_answers_is_told_at_once() -> None:
    with socket.socket() as taken:  # bound and not listening: refused, and nobody else's
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"{address}.*no cluster answers"), connected(address, cpus=None):
            pass
