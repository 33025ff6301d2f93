"""What is wrong with a manifest: one line each, with the document, the path, the value and the way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.infra.documents import Document


@dataclass(frozen=True)
class Finding:
    document: str
    path: str
    told: str
    """What is wrong, with the value."""
    mend: str
    where: str = field(default="", compare=False)
    """The overlay and the components that were rendered."""

    def __str__(self) -> str:
        return f"{self.where}{': ' if self.where else ''}{self.document}: {self.path}: {self.told}; {self.mend}"


def finding(document: Document, path: str, told: str, mend: str) -> Finding:
    return Finding(document.title, path, told, mend)


def shown(value: Any) -> str:
    """A value as a line may hold it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
