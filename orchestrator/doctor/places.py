"""What lies on this machine: settings, the GPU, corpora, and the synthesiser of the stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

from orchestrator.corpora import ALIGNED
from orchestrator.doctor.finding import Finding, brief
from orchestrator.doctor.packages import installed
from orchestrator.settings import CORPORA, FILE, GPU, Settings
from trainables.errors import OrchError


def strangers(settings: Settings) -> list[Finding]:
    """Variables that look like ours and are none: mostly slips of the pen."""
    known = {f"ORCH_{name.upper()}" for name in Settings.model_fields}
    known |= {f"ORCH_CORPORA__{name.upper()}" for name in CORPORA}
    known |= {f"ORCH_ALIGNMENTS__{name.upper()}" for name in ALIGNED}
    unknown = sorted(name for name in os.environ if name.upper().startswith("ORCH_") and name.upper() not in known)
    return [Finding("environment", "warn", f"{name} is no setting of ours", f"unset {name}") for name in unknown]


def gpu(settings: Settings) -> list[Finding]:
    if not GPU.exists():
        return [Finding("gpu", "ok", "none; everything runs on the CPU")]
    told = _nvidia() or "there is one, and nvidia-smi says nothing of it"
    torch = installed("torch") or ""
    if torch.endswith("+cpu"):
        return [Finding("gpu", "warn", f"{told}; torch {torch} cannot use it", "pip install torch of a CUDA build")]
    return [Finding("gpu", "ok", told)]


def _nvidia() -> str:
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "; ".join(line.strip() for line in found.splitlines())


def corpora(settings: Settings) -> list[Finding]:
    return [_corpus(settings, name) for name in CORPORA]


def _corpus(settings: Settings, name: str) -> Finding:
    subject, variable = f"corpus {name}", f"ORCH_CORPORA__{name.upper()}"
    mend = f"mend the folder or {variable}; orch prepare {name} tells more"
    try:
        root = settings.corpus_root(name)
        if root is None:
            told = "no root: sweeps run on the stand-in, whose scores are not this corpus's"
            return Finding(subject, "warn", told, f"set {variable}, or corpora.{name} in {FILE}")
        told = f"{root} (from {settings.origin(f'corpora.{name}')})"
        fault = _unreadable(name, root)
        if fault is not None and _unreadable(name, root, modalities=("text",)) is None:
            return Finding(subject, "warn", f"{told}: its texts alone: {brief(fault)}", mend)
    except OrchError as error:
        fault = error
    return Finding(subject, "fail", brief(fault), mend) if fault else Finding(subject, "ok", told)


def _unreadable(name: str, root: Path, **fields: object) -> OrchError | None:
    """Why the corpus cannot be read there, by its listing alone; None where it can."""
    from trainables.importers import IMPORTERS
    from trainables.spec import CorpusSpec

    specs = {spec.model_fields["type"].default: spec for spec in get_args(get_args(CorpusSpec)[0])}
    try:
        IMPORTERS[name].source_digest(specs[name](**fields), root)
    except OrchError as error:
        return error
    return None


def speech(settings: Settings) -> list[Finding]:
    if find_spec("espeakng_loader") is not None:
        return [Finding("stand-in", "ok", f"eSpeak NG is there (espeakng-loader {installed('espeakng-loader')})")]
    needed = not settings.corpora
    told = "espeakng-loader is not installed, so the stand-in corpus cannot be made"
    return [Finding("stand-in", "fail" if needed else "warn", told, "pip install 'orch[standin]'")]
