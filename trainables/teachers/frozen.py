"""What a fusion teacher reads: the frozen sequences of the others, and the segments in the audio's frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from trainables.alignment.frames import frame_segments
from trainables.corpus import SAMPLE_RATE
from trainables.spec.base import Modality
from trainables.spec.teachers import CoAttentionFusion, FusionTeacher
from trainables.teachers.data import FeatureSource
from trainables.teachers.heads import EncoderModel
from trainables.teachers.running import coarse_sequences

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame_seconds(audio: EncoderModel) -> float:
    """From one frame of the audio teacher to the next: 0.02 for wav2vec 2.0."""
    strides: list[int] = audio.loaded.model.config.conv_stride
    return math.prod(strides) / SAMPLE_RATE


def spans_of(
    rows: Sequence[Sequence[Mapping[str, Any]] | None], frames: Sequence[Tensor], seconds: float
) -> list[NDArray[np.int32]]:
    """[S_i, 2] of each row's segments in its own frames [T_i, D]; none where the row is not aligned."""
    return [frame_segments(row or (), len(f), seconds) for row, f in zip(rows, frames, strict=True)]


def frozen_source(
    spec: FusionTeacher,
    sequences: Mapping[Modality, Sequence[Tensor]],
    *,
    samples: NDArray[np.float64] | None,
    segments: Mapping[str, Sequence[Any]],
    seconds: float,
) -> FeatureSource:
    """`co_attention` reads about ten frames of audio a second, `multi_level` every frame and its levels' spans.

    Word pieces and pictures are read as they are. `samples` [N] of each clip, where there is audio; `segments` in
    seconds, of every granularity that `spec` reads; `seconds` as of `frame_seconds`.
    """
    if not isinstance(spec, CoAttentionFusion):
        spans = {str(g): spans_of(segments[g], sequences["audio"], seconds) for g in spec.segments}
        return FeatureSource(sequences, spans)
    if samples is None:
        return FeatureSource(sequences)
    return FeatureSource({**sequences, "audio": coarse_sequences(sequences["audio"], samples)})
