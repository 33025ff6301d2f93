"""The command line in this process, in a folder of its own with nothing configured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator import settings
from orchestrator.cli import app


class Result:
    """What a command left: `code`, `out` and `err`."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def orch(*arguments: str) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    return Result(done.exit_code, done.stdout, done.stderr)


def bare_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`folder` as the working directory, no orch.toml, no variable of ours, no GPU."""
    for name in list(os.environ):
        if name.upper().startswith("ORCH_") or name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(settings, "user_config_dir", lambda name: str(folder / "no-config" / name))
    monkeypatch.setattr(settings, "GPU", folder / "no-gpu")
