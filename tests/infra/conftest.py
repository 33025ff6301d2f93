"""Rendered overlays, each once for all tests; without kubectl what needs them is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache

import pytest

from orchestrator.infra.documents import Document, documents
from orchestrator.infra.render import Request, render

Rendered = Callable[..., list[Document]]


@pytest.fixture(scope="session")
def kubectl() -> str:
    """Its path."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed, and it renders the overlays")
    return found


@pytest.fixture(scope="session")
def rendered(kubectl: str) -> Rendered:
    """(overlay, *components) -> the documents that would be applied."""

    @cache
    def rendered(overlay: str, *components: str) -> list[Document]:
        return documents(render(Request(overlay, components=components)))

    return rendered
