"""Small runs over the synthetic transfer sets: specs, and reporters that keep or replay a checkpoint."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.students import SMALL
from trainables.reporter import ListReporter
from trainables.spec import RunSpec


def small_run(**parts: Any) -> RunSpec:
    """A narrow student for a few epochs; `parts` replace or extend whole sections."""
    student = {"type": "audio_text_transformer", **SMALL["audio_text_transformer"]}
    training = {"epochs": 3, "batch_size": 16, "patience": 0}
    content: dict[str, Any] = {
        "student": student | parts.pop("student", {}),
        "training": training | parts.pop("training", {}),
        "features": {"mel_bands": 8, "attention_grid": 4},
        **parts,
    }
    return RunSpec.model_validate(content)


@dataclass
class KeepingReporter(ListReporter):
    """Keeps the latest checkpoint in `kept`, and gives it back."""

    kept: Path = Path()
    saves: int = 0

    def save(self, folder: Path) -> None:
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(folder, self.kept)
        self.saves += 1

    def restore(self, folder: Path) -> bool:
        if not self.kept.is_dir():
            return False
        shutil.copytree(self.kept, folder, dirs_exist_ok=True)
        return True


def without_seconds(curves: list[dict[str, float]]) -> list[dict[str, float]]:
    """What must repeat to the bit: everything but the wall time."""
    return [{k: v for k, v in epoch.items() if k != "seconds"} for epoch in curves]
