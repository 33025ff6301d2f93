"""Specifications and the command line weigh nothing: what a fresh interpreter loads when it imports them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "av",
    "fsspec",
    "mlflow",
    "numpy",
    "optuna",
    "pandas",
    "pyarrow",
    "ray",
    "s3fs",
    "safetensors",
    "scipy",
    "sklearn",
    "soundfile",
    "tokenizers",
    "torch",
    "transformers",
}
COLD = ["trainables.spec", "trainables.errors", "orchestrator.experiment", "orchestrator.space", "orchestrator.cli"]


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that are loaded once a fresh interpreter has run `statement`."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", COLD)
def test_importing_loads_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module.split(".", maxsplit=1)[0] in loaded
    assert loaded & HEAVY == set()


def test_help_loads_nothing_heavy() -> None:
    loaded = loaded_by(
        "import contextlib, sys\n"
        "from orchestrator.cli import main\n"
        "sys.argv = ['orch', 'sweep', '--help']\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main()"
    )
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_the_look_sees_a_heavy_package() -> None:
    assert "numpy" in loaded_by("import numpy") & HEAVY
