"""A fine-tuned teacher in a folder: the encoder as `save_pretrained` leaves it, our head, and `teacher.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainables.artifacts import fetch
from trainables.spec.base import TeacherName
from trainables.spec.teachers import AudioTeacher, EncoderTeacher, FusionTeacher, TextTeacher, VisualTeacher
from trainables.storage import Storage
from trainables.teachers.encoders import load_encoder
from trainables.teachers.fusion import FusionModel, make_fusion
from trainables.teachers.heads import EncoderModel
from trainables.teachers.identity import prefix
from trainables.teachers.multi_level import MultiLevelModel

HEAD = "head.safetensors"
CARD = "teacher.json"

_ENCODERS: dict[TeacherName, type[EncoderTeacher]] = {
    "audio": AudioTeacher,
    "text": TextTeacher,
    "visual": VisualTeacher,
}
TeacherModel = EncoderModel | FusionModel | MultiLevelModel


@dataclass(frozen=True)
class FineTuned:
    """A teacher ready to be run: in eval mode, nothing of it trainable."""

    name: TeacherName
    model: TeacherModel
    labels: tuple[str, ...]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def encoder(self) -> EncoderModel:
        assert isinstance(self.model, EncoderModel)
        return self.model


def save_teacher(
    folder: Path,
    name: TeacherName,
    model: TeacherModel,
    spec: EncoderTeacher | FusionTeacher,
    labels: Sequence[str],
    *,
    multi_label: bool = False,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    head: dict[str, Tensor] = {
        k: v.detach().cpu().contiguous() for k, v in model.state_dict().items() if not k.startswith("encoder.")
    }
    save_file(head, folder / HEAD)
    card: dict[str, Any] = {"name": name, "labels": list(labels), "multi_label": multi_label}
    card["spec"] = spec.model_dump(mode="json")
    if isinstance(model, EncoderModel):
        model.loaded.save(folder)
    else:
        card["inputs"] = model.inputs
    (folder / CARD).write_text(json.dumps(card, indent=1), "utf-8")


def load_teacher(folder: Path, device: str | torch.device = "cpu", attention: bool = False) -> FineTuned:
    """`attention`: so that the model can return its attention maps."""
    card = json.loads((folder / CARD).read_text("utf-8"))
    name: TeacherName = card["name"]
    model: TeacherModel
    if name == "fusion":
        fusion: FusionTeacher = TypeAdapter(FusionTeacher).validate_python(card["spec"])
        model = make_fusion(fusion, card["inputs"], classes=len(card["labels"]), multi_label=card["multi_label"])
    else:
        spec = _ENCODERS[name].model_validate(card["spec"])
        loaded = load_encoder(name, folder, attention)
        model = EncoderModel(loaded, len(card["labels"]), spec.dropout, spec.layer_weighting)
    missing, unexpected = model.load_state_dict(load_file(folder / HEAD), strict=False)
    assert not unexpected and all(k.startswith("encoder.") for k in missing), (missing, unexpected)
    model.requires_grad_(False).eval().to(device)
    return FineTuned(name, model, tuple(card["labels"]))


def fetch_teacher(
    storage: Storage, fingerprint: str, folder: Path, device: str | torch.device = "cpu", attention: bool = False
) -> FineTuned:
    """Download a published teacher below `folder`, check its checksums and load it."""
    target = folder / fingerprint
    fetch(storage, prefix(fingerprint), target)
    return load_teacher(target, device, attention)
