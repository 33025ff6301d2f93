"""One local Ray cluster for every test that needs one: four CPUs by name, whatever the machine has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.launch.cluster import connected
from orchestrator.launch.placement import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with connected(None, cpus=4) as found:
        yield found
