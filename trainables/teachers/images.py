"""How an image encoder wants its pictures: size, scale, mean and deviation, as its checkpoint says.

`preprocessor_config.json` is read as `AutoImageProcessor` reads it, but for one thing: the whole square is resized
to the encoder's side. Where a checkpoint would cut the middle out of a larger picture, a face would lose its edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BICUBIC = 3
"""PIL's number of it, which `resample` holds."""


@dataclass(frozen=True)
class PictureRules:
    """`side` in pixels; v of 0 to 255 becomes (v * scale - mean) / std; `frames` of an utterance at most."""

    side: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    bicubic: bool = False
    frames: int = 8

    def resized(self, pictures: NDArray[np.uint8]) -> Tensor:
        """[F, S, S, 3] -> [F, 3, side, side] uint8, smoothed where it shrinks."""
        planes = torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
        if planes.shape[-1] == self.side:
            return planes
        mode = "bicubic" if self.bicubic else "bilinear"
        small: Tensor = F.interpolate(planes, (self.side, self.side), mode=mode, antialias=True)
        return small

    def normalised(self, pictures: Tensor) -> Tensor:
        """[..., 3, side, side] uint8 -> float32 of the same shape."""
        mean, std = (torch.tensor(v, device=pictures.device).view(-1, 1, 1) for v in (self.mean, self.std))
        return (pictures.float() * self.scale - mean) / std


def rules_of(processor: Mapping[str, Any], config_side: int, frames: int) -> PictureRules:
    """Those of `preprocessor_config.json`, {} where there is none: then the model's own side and 0.5."""
    plain = PictureRules(_side(processor, config_side))
    normalise = processor.get("do_normalize", True)
    return PictureRules(
        side=plain.side,
        mean=tuple(processor.get("image_mean") or plain.mean) if normalise else (0.0, 0.0, 0.0),
        std=tuple(processor.get("image_std") or plain.std) if normalise else (1.0, 1.0, 1.0),
        scale=float(processor.get("rescale_factor", plain.scale)) if processor.get("do_rescale", True) else 1.0,
        bicubic=processor.get("resample") == _BICUBIC,
        frames=frames,
    )


def _side(processor: Mapping[str, Any], config_side: int) -> int:
    """What is cut out, where it is cut, else the size; either is a number or names its height or shortest edge."""
    cuts = processor.get("do_center_crop", False) and "crop_size" in processor
    size = processor.get("crop_size" if cuts else "size", config_side)
    if isinstance(size, Mapping):
        size = size.get("height", size.get("shortest_edge", config_side))
    return int(size)
