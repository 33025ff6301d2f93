"""Processes that share the tests start one Ray cluster between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.scheduling import CLUSTER, scope

ROOT = Path(__file__).parents[2]


def test_tests_on_the_cluster_are_of_one_scope_and_others_of_their_files(request: pytest.FixtureRequest) -> None:
    assert scope(ROOT, "tests/integration/test_sweep_ray.py::test_a[x::y]") == CLUSTER
    assert scope(ROOT, "tests/architecture/test_sizes.py::test_a") == str(ROOT / "tests/architecture/test_sizes.py")
    for item in request.session.items:
        assert isinstance(item, pytest.Function)
        if CLUSTER in item.fixturenames:
            assert scope(ROOT, item.nodeid) == CLUSTER, item.nodeid
