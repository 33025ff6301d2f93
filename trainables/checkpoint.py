"""A training run at an epoch's end as safetensors and JSON: nothing in it is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from trainables.artifacts import fingerprint
from trainables.errors import ArtifactError
from trainables.spec.run import RunSpec

SCHEMA_VERSION = 1
_TENSORS, _FACTS = "state.safetensors", "state.json"


def write(folder: Path, run: RunSpec, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write both files into `folder`, which is made where it is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, str(folder / _TENSORS))
    text = json.dumps({"run": _identity(run), **facts}, allow_nan=False)
    (folder / _FACTS).write_text(text, encoding="utf-8")


def read(folder: Path, run: RunSpec) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and facts; ArtifactError where they are another run's."""
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    if facts.pop("run") != _identity(run):
        raise ArtifactError(f"{folder}: the checkpoint is of another run; start this one without it")
    return load_file(str(folder / _TENSORS)), facts


def _identity(run: RunSpec) -> str:
    return fingerprint("checkpoint", SCHEMA_VERSION, run)


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `prefix/` before each name."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `under`: those below `prefix/`, without it."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Each parameter's state as `<position>/<name>`; positions count through the groups."""
    state: dict[str, Tensor] = {}
    for position, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            state[f"{position}/{name}"] = value
    return state


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """Fill a fresh optimizer over the same parameters."""
    parameters = _parameters(optimizer)
    for key, value in state.items():
        position, name = key.split("/", 1)
        parameter = parameters[int(position)]
        device = parameter.device if name != "step" or optimizer.defaults.get("fused") else "cpu"
        optimizer.state[parameter][name] = value.to(device)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
