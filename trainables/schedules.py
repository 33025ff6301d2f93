"""The arithmetic of `trainables.spec.schedule`: pure functions of progress in [0, 1] (methods reference, 6.2)."""

from __future__ import annotations

import math

from trainables.spec.schedule import Schedule


def value(schedule: Schedule, progress: float) -> float:
    """The value of `schedule` at `progress` in [0, 1]; ValueError outside.

    linear: s + (e - s) p; cosine: e + (s - e)(1 + cos pi p) / 2; exponential: s (e / s)^p; step: the `steps`
    values from s to e at equal distances, each for an equal share of training (one step: s throughout).
    """
    _check(progress)
    start, end = schedule.start, schedule.start if schedule.end is None else schedule.end
    match schedule.shape:
        case "constant":
            return start
        case "linear":
            return start + (end - start) * progress
        case "cosine":
            return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
        case "exponential":
            return start * math.pow(end / start, progress)
        case "step":
            return start + (end - start) * _plateau(progress, schedule.steps)


def warmup_cosine(progress: float, warmup: float) -> float:
    """Factor of the learning rate: linear from 0 to 1 over the `warmup` fraction, then half a cosine down to 0.

    A loop that asks at (step + 1) / steps takes no step of zero length first. ValueError outside [0, 1].
    """
    _check(progress)
    if progress < warmup:
        return progress / warmup
    if warmup >= 1:
        return 1.0
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def _plateau(progress: float, steps: int) -> float:
    """The share of the way from start to end that the plateau at `progress` has."""
    if steps == 1:
        return 0.0
    # Progress arrives as a quotient: the small term keeps 0.29 * 100 on plateau 29, not 28.
    return min(math.floor(progress * steps + 1e-9), steps - 1) / (steps - 1)


def _check(progress: float) -> None:
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress}: a fraction of training within [0, 1]")
