"""The state of an unfinished fine-tuning on disk: safetensors and JSON, nothing pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


@dataclass
class Progress:
    """`epoch` epochs have ended; `best_epoch` had the best dev score so far."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    curves: list[dict[str, float]] = field(default_factory=list)


State = Mapping[str, Tensor]


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The model's tensors on the CPU, apart from the model."""
    return {k: v.detach().to("cpu", copy=True).contiguous() for k, v in model.state_dict().items()}


def save_checkpoint(
    folder: Path, model: nn.Module, best: State, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(copied(model), folder / "model.safetensors")
    if progress.best_epoch != progress.epoch:
        save_file(dict(best), folder / "best.safetensors")
    moments = {
        f"{index}/{key}": value.detach().cpu().contiguous()
        for index, entries in optimizer.state_dict()["state"].items()
        for key, value in entries.items()
    }
    save_file(moments, folder / "optimizer.safetensors")
    (folder / "progress.json").write_text(json.dumps(asdict(progress)), "utf-8")


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, Tensor]]:
    """Fill model and optimizer; returns the progress and the best epoch's tensors."""
    progress = Progress(**json.loads((folder / "progress.json").read_text("utf-8")))
    latest = load_file(folder / "model.safetensors")
    model.load_state_dict(latest)
    state: dict[int, dict[str, Any]] = {}
    for name, value in load_file(folder / "optimizer.safetensors").items():
        index, key = name.split("/")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    best = folder / "best.safetensors"
    return progress, load_file(best) if best.exists() else latest
