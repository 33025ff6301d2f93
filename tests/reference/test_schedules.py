"""Every schedule at points worked by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from trainables.schedules import value, warmup_cosine
from trainables.spec.schedule import Schedule

CONSTANT = Schedule(start=2.0)
LINEAR = Schedule(shape="linear", start=8.0, end=2.0)
COSINE = Schedule(shape="cosine", start=8.0, end=2.0)
EXPONENTIAL = Schedule(shape="exponential", start=8.0, end=2.0)
STEP = Schedule(shape="step", start=8.0, end=2.0, steps=3)


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (CONSTANT, 0.0, 2.0),
        (CONSTANT, 1.0, 2.0),
        (Schedule(start=2.0, end=9.0), 1.0, 2.0),  # a constant one has no use for its end
        (LINEAR, 0.0, 8.0),
        (LINEAR, 0.25, 6.5),  # 8 - 6/4
        (LINEAR, 1.0, 2.0),
        (COSINE, 0.0, 8.0),
        (COSINE, 1 / 3, 6.5),  # 2 + 6 (1 + 1/2) / 2
        (COSINE, 0.5, 5.0),
        (COSINE, 2 / 3, 3.5),  # 2 + 6 (1 - 1/2) / 2
        (COSINE, 1.0, 2.0),
        (EXPONENTIAL, 0.0, 8.0),
        (EXPONENTIAL, 0.5, 4.0),  # 8 (1/4)^(1/2)
        (EXPONENTIAL, 1.0, 2.0),
        (STEP, 0.0, 8.0),
        (STEP, 0.33, 8.0),
        (STEP, 1 / 3, 5.0),
        (STEP, 0.66, 5.0),
        (STEP, 2 / 3, 2.0),
        (STEP, 1.0, 2.0),
        (Schedule(shape="step", start=8.0, end=2.0, steps=1), 1.0, 8.0),
        (Schedule(shape="step", start=0.0, end=99.0, steps=100), 0.29, 29.0),  # 0.29 * 100 is 28.999999999999996
        (Schedule(shape="linear", start=0.0, end=1.0), 0.75, 0.75),  # upwards
    ],
)
def test_value(schedule: Schedule, progress: float, expected: float) -> None:
    assert value(schedule, progress) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("schedule", [LINEAR, COSINE, EXPONENTIAL, STEP])
def test_it_never_turns_back_and_stays_between_its_ends(schedule: Schedule) -> None:
    values = [value(schedule, k / 200) for k in range(201)]
    assert all(a >= b for a, b in pairwise(values))
    assert [values[0], values[-1]] == pytest.approx([8.0, 2.0])


@pytest.mark.parametrize(
    ("progress", "warmup", "expected"),
    [
        (0.0, 0.1, 0.0),
        (0.05, 0.1, 0.5),
        (0.1, 0.1, 1.0),
        (0.55, 0.1, 0.5),  # half way down
        (0.4, 0.1, 0.75),  # a third of the way: (1 + cos pi/3) / 2
        (1.0, 0.1, 0.0),
        (0.0, 0.0, 1.0),
        (0.5, 0.0, 0.5),
        (0.5, 1.0, 0.5),
        (1.0, 1.0, 1.0),
    ],
)
def test_warmup_cosine(progress: float, warmup: float, expected: float) -> None:
    assert warmup_cosine(progress, warmup) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("progress", [-0.01, 1.01, math.nan])
def test_progress_outside_is_an_error(progress: float) -> None:
    with pytest.raises(ValueError, match="progress"):
        value(LINEAR, progress)
    with pytest.raises(ValueError, match="progress"):
        warmup_cosine(progress, 0.1)
