"""Commands that only read load only what reading takes: the modules of a fresh interpreter after each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "av", "fsspec", "huggingface_hub", "mlflow", "numpy", "optuna", "pandas", "pyarrow", "ray", "s3fs",
    "safetensors", "scipy", "sklearn", "soundfile", "tokenizers", "torch", "transformers",
}  # fmt: skip
SCRIPT = """if True:
    import contextlib, io, json, sys
    from orchestrator.cli import main
    sys.argv = ["orch", *json.loads(sys.argv[1])]
    said, code = io.StringIO(), 0
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps({"code": code, "said": said.getvalue(), "modules": sorted(sys.modules)}))
"""


def after(folder: Path, *arguments: str) -> tuple[int, str, set[str]]:
    """(exit code, stdout, modules loaded) of a command in an interpreter of its own."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
    found = json.loads(done.stdout.splitlines()[-1])
    return found["code"], found["said"], set(found["modules"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--version",), "orch "),
        (("check",), "cmd-meld"),
        (("show", "cmd-meld"), "corpus:"),
        (("show", "cmd-meld", "--json"), '"corpus"'),
        (("schema",), '"$defs"'),
    ],
)
def test_a_command_that_only_reads_loads_nothing_heavy(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    code, found, modules = after(tmp_path, *arguments)
    assert code == 0
    assert said in found
    assert modules & HEAVY == set()


def test_help_does_not_even_load_the_specs(tmp_path: Path) -> None:
    _, said, modules = after(tmp_path, "--help")
    assert "sweep" in said
    assert (
        modules & {"pydantic", "pydantic_settings", "yaml", "orchestrator.experiment", "trainables.spec"} == set()
    )


def test_a_wrong_name_is_told_without_loading_anything_heavy(tmp_path: Path) -> None:
    code, _, modules = after(tmp_path, "sweep", "cmd-mled")
    assert code == 2
    assert modules & HEAVY == set()
