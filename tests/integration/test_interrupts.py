"""A SIGTERM in teach, harvest or confirm: Ray has put a handler of its own there, and ours must stand."""

from __future__ import annotations

import subprocess
import sys

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
