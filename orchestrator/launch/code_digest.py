"""Which code runs here: a digest of our two packages, and the checkout that they run from."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

PACKAGES = ("orchestrator", "trainables")
SHIPPED = (*PACKAGES, "search_spaces")
"""What a job needs of a checkout."""
_ROOT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=1)
def code_digest(root: Path = _ROOT) -> str:
    """Of every source file of the packages below `root`, by name and content."""
    found = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            found.update(f"{path.relative_to(root).as_posix()}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:12]


def checkout() -> Path | None:
    """The root of the checkout that this process runs from; None where the packages are installed."""
    return _ROOT if (_ROOT / "pyproject.toml").is_file() else None
