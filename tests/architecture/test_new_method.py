"""A new method touches one method file, one spec, one registry and one YAML, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.transfer_sets import FINGERPRINT, synthetic

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "trainables", "search_spaces")

METHOD = '''"""Confidence penalty (Pereyra et al. 2017): the labels, and the entropy of what is predicted."""

from torch import Tensor

from trainables.batching import Batch
from trainables.method import BaseMethod
from trainables.students.base import StudentOutput


class ConfidencePenaltyMethod(BaseMethod):
    def own(self, output: StudentOutput, batch: Batch, progress: float) -> dict[str, Tensor]:
        p = output.logits.log_softmax(dim=1)
        penalty = self.run.method.beta * (p.exp() * p).sum(dim=1).mean()
        return {**self.classified(output, batch), "confidence": penalty}
'''
SPEC = '''class ConfidencePenalty(AnyMethod):
    """Pereyra et al. 2017."""

    type: Literal["confidence_penalty"] = "confidence_penalty"
    beta: Positive = 0.1


'''
EXPERIMENT = """# Claim  A toy.
name: toy
claim: A method that is added touches four files.
run:
  student: {type: audio_text_transformer, width: 16, heads: 2, cross_layers: 1, self_layers: 1, token_width: 8}
  method: {type: confidence_penalty, beta: 0.2}
  training: {epochs: 2, batch_size: 16}
search:
  trials: 4
  startup_trials: 2
  scheduler: {type: none}
  space:
    method.beta: {type: float, low: 0.01, high: 1.0, log: true}
"""
TRAIN = """
import json, sys
from pathlib import Path
import trainables
from orchestrator.experiment import load
from trainables.reporter import ListReporter
from trainables.run import train
from trainables.transfer_set import TransferSet
run = load("toy").run
result = train(run, TransferSet.open(Path(sys.argv[1])), ListReporter(), threads=1)
print(json.dumps({"from": trainables.__file__, "method": run.method.type, "curves": result.curves}))
"""


def digests(folder: Path) -> dict[str, str]:
    """By path, of every file that is no cache."""
    files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def add_method(root: Path) -> None:
    """What somebody does who adds a method."""
    (root / "trainables/methods/confidence_penalty.py").write_text(METHOD, encoding="utf-8")
    (root / "search_spaces/toy.yaml").write_text(EXPERIMENT, encoding="utf-8")
    spec = root / "trainables/spec/method.py"
    text, unions = re.subn(
        r"^(MethodSpec = Annotated\[\s*)",
        SPEC + r"\1ConfidencePenalty | ",
        spec.read_text(encoding="utf-8"),
        flags=re.M,
    )
    assert unions == 1
    spec.write_text(text, encoding="utf-8")
    registry = root / "trainables/methods/__init__.py"
    text = registry.read_text(encoding="utf-8")
    import_line = "from trainables.methods.confidence_penalty import ConfidencePenaltyMethod\n"
    text = text.replace("from trainables.methods.distil", import_line + "from trainables.methods.distil")
    text, entries = re.subn(
        r"^(METHODS: .* = \{\n)", r'\1    "confidence_penalty": ConfidencePenaltyMethod,\n', text, flags=re.M
    )
    assert entries == 1
    registry.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in the copy, which comes before every other place that modules are found in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORCH_")}
    environment = {**kept, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_a_method_is_four_files(copy: Path, tmp_path: Path) -> None:
    before = digests(copy)
    refused = run(copy, "-m", "orchestrator.cli", "check", "toy")
    assert refused.returncode == 2 and "toy" in refused.stderr

    add_method(copy)
    after = digests(copy)
    touched = {path for path in after if after[path] != before.get(path)}
    assert touched == {
        "trainables/methods/confidence_penalty.py",
        "trainables/methods/__init__.py",
        "trainables/spec/method.py",
        "search_spaces/toy.yaml",
    }
    assert set(before) <= set(after)

    checked = run(copy, "-m", "orchestrator.cli", "check", "toy")
    assert checked.returncode == 0, checked.stderr
    assert re.search(r"toy\s+ok", checked.stdout)

    synthetic(tmp_path)
    trained = run(copy, "-c", TRAIN, str(tmp_path / "cache" / FINGERPRINT))
    assert trained.returncode == 0, trained.stderr
    found = json.loads(trained.stdout.splitlines()[-1])
    assert Path(found["from"]).is_relative_to(copy) and found["method"] == "confidence_penalty"
    for curve in found["curves"]:
        # Minus an entropy of at most log 7 nats, times beta.
        assert -0.2 * 1.946 <= curve["loss/confidence"] < 0
        assert curve["loss"] == pytest.approx(curve["loss/ce"] + curve["loss/confidence"])
