"""What all commands share: exit codes, one line for an error, the traceback on demand."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from orchestrator import __version__, experiment
from orchestrator.commands import options
from orchestrator.errors import ExperimentError, Interrupted, StageError
from tests.helpers.cli import bare_machine, orch

COMMANDS = (
    "sweep",
    "submit",
    "attach",
    "stop",
    "status",
    "prepare",
    "check",
    "show",
    "sync",
    "schema",
    "ui",
    "doctor",
)


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine(tmp_path, monkeypatch)


def failing(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[str]:
        raise error

    monkeypatch.setattr(experiment, "names", names)


def test_help_lists_every_command() -> None:
    found = orch("--help")
    assert found.code == 0
    assert all(f" {name} " in found.out for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    found = orch(command, "-h")
    assert found.code == 0
    assert f"orch {command}" in found.out.replace("root", "orch")


def test_version() -> None:
    assert orch("--version").out == f"orch {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ExperimentError("no such\n  thing"), 2, "error: no such thing\n"),
        (StageError("teach ended without its output"), 1, "error: teach ended without its output\n"),
        (Interrupted("stopped"), 130, "error: stopped\n"),
        (KeyboardInterrupt(), 130, "interrupted; everything done so far is kept\n"),
        (
            OSError(28, "No space left on device", "/data/x"),
            1,
            "error: /data/x: No space left on device; `",
        ),
        (ZeroDivisionError("oops"), 1, "error: ZeroDivisionError: oops (a fault of ours; "),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(error, monkeypatch)
    found = orch("check")
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(line)
    assert found.err.count("\n") == 1


@pytest.mark.parametrize("error", [ExperimentError("wrong"), ZeroDivisionError("oops")])
def test_debug_shows_the_traceback(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(error, monkeypatch)
    found = orch("--debug", "check")
    assert "Traceback (most recent call last)" in found.err
    assert found.code == orch("check").code
    assert "Traceback" not in orch("check").err


@pytest.mark.parametrize(
    "arguments", [("swepe",), ("sweep",), ("sweep", "a", "--trials", "0"), ("show", "a", "--scale", "big")]
)
def test_a_wrong_command_line_exits_with_2(arguments: tuple[str, ...]) -> None:
    found = orch(*arguments)
    assert (found.code, found.out) == (2, "")
    assert "Usage: " in found.err


def test_the_scales_of_the_command_line_are_the_experiments() -> None:
    assert get_args(options.Scale) == get_args(experiment.Scale)
