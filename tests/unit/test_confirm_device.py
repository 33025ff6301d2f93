"""Where a confirmed model is evaluated: the student and the batches on one device, the latency on the CPU.

There is no accelerator here, so the device is a name that the student is told and batches are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.runs import small_run
from tests.helpers.transfer_sets import synthetic
from trainables import confirm
from trainables.confirm import confirm_model
from trainables.storage import Storage

OTHER = "cuda"


class Places:
    """Where the student was each time that something was asked of it, and where the batches were to be."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now, self.seen = "cpu", list[tuple[str, str, str]]()

        def moved(module: torch.nn.Module, device: str = "cpu") -> torch.nn.Module:
            self.now = device
            return module

        patch.setattr(torch.nn.Module, "to", moved)
        patch.setattr(torch.nn.Module, "cpu", moved)
        for name in ("train", "predict", "mc_predict", "latency", "export"):
            patch.setattr(confirm, name, self._watched(name, getattr(confirm, name)))

    def _watched(self, name: str, call: Any) -> Any:
        def watched(*given: Any, **named: Any) -> Any:
            device = named.pop("device", "cpu")
            self.seen.append((name, self.now, device))
            return call(*given, **named)

        return watched


def test_student_and_batches_are_on_the_same_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, places = synthetic(tmp_path / "data"), Places(monkeypatch)
    confirm_model(small_run(), data, Storage(str(tmp_path)), "m", mc_passes=2, threads=1, device=OTHER)
    assert places.seen[1:] == [
        ("predict", OTHER, OTHER),
        ("mc_predict", OTHER, OTHER),
        ("latency", OTHER, "cpu"),
        ("export", "cpu", "cpu"),
    ]
    assert places.seen[0][0::2] == ("train", OTHER)
