"""The pool under the importer: order, bounded look-ahead, and a job that kills its process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from trainables.importers.pool import AHEAD, MAX_WORKERS, in_order

FATAL = 5


def square(number: int) -> int:
    return number * number


def square_or_die(number: int) -> int:
    if number == FATAL:
        os._exit(3)
    return number * number


def lost(number: int) -> int:
    return -number


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order_and_no_more_is_read_ahead_than_said(workers: int) -> None:
    read = 0

    def jobs() -> Iterator[int]:
        nonlocal read
        for number in range(100):
            read = number + 1
            yield number

    for taken, result in enumerate(in_order(square, jobs(), workers, lost)):
        assert result == taken * taken
        assert read - taken <= AHEAD * workers + 1
    assert read == 100


def test_the_look_ahead_does_not_grow_with_the_cores() -> None:
    results = in_order(square, iter(range(10)), 10_000, lost)
    assert next(results) == 0
    assert MAX_WORKERS * AHEAD < 100
    assert list(results) == [n * n for n in range(1, 10)]


def test_a_job_that_kills_its_process_is_lost_alone() -> None:
    expected = [lost(n) if n == FATAL else n * n for n in range(30)]
    assert list(in_order(square_or_die, range(30), 2, lost)) == expected
