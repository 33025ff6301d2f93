"""`orch sweep` on a pseudo-terminal: drawn in place, and left in order by Ctrl-C."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pseudo-terminals as Linux has them")

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
SCRIPT = """if True:
    import sys, time
    from orchestrator import cli, pipeline
    from tests.helpers.sweeps import summary, trial

    def sweep(*given, observer, **more):
        observer.stage_started("sweep", "")
        observer.trial_changed(trial(0, "running", (0.4,), started=time.time()))
        time.sleep(0.6)
        observer.message("READY")
        if wait:
            time.sleep(60)
        return summary()

    wait, pipeline.sweep = sys.argv.pop(1) == "wait", sweep
    cli.main()
"""


def on_terminal(folder: Path, mode: str, **environment: str) -> tuple[int, bytes]:
    """(exit code, what was drawn); with `wait` it is interrupted once it says READY."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-c", SCRIPT, mode, "sweep", "cmd-meld"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
    root = str(Path(__file__).parents[2])
    env = {**kept, "TERM": "xterm", "COLUMNS": "80", "LINES": "30", "PYTHONPATH": root, **environment}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=folder, env=env)
    os.close(follower)
    drawn, interrupted = b"", False
    while True:
        try:
            drawn += os.read(leader, 65536)
        except OSError:  # the other end is closed
            break
        if mode == "wait" and b"READY" in drawn and not interrupted:
            process.send_signal(signal.SIGINT)
            interrupted = True
    os.close(leader)
    return process.wait(timeout=30), drawn


def test_it_is_drawn_in_place_and_ends_with_the_summary(tmp_path: Path) -> None:
    code, drawn = on_terminal(tmp_path, "end")
    assert code == 0
    assert drawn.count(HIDE) == drawn.count(SHOW) == 1
    assert b"\x1b[2K" in drawn
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", drawn).decode()
    assert text.index("READY") < text.index("Bayes ceilings")
    assert "0.400" in text


def test_ctrl_c_gives_the_cursor_back_and_exits_with_130(tmp_path: Path) -> None:
    code, drawn = on_terminal(tmp_path, "wait")
    assert code == 130
    assert drawn.count(HIDE) == drawn.count(SHOW) == 1
    assert b"interrupted; everything done so far is kept" in drawn
    assert b"Traceback" not in drawn


def test_a_dumb_terminal_gets_plain_lines(tmp_path: Path) -> None:
    code, drawn = on_terminal(tmp_path, "end", TERM="dumb")
    assert code == 0
    assert b"\x1b" not in drawn
