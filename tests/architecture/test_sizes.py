"""Small files and small functions: the house style's limits."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for package in ("orchestrator", "trainables") for path in (ROOT / package).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 400, 50


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and number of lines, docstring and all, of every function and method, nested ones too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def test_both_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == {"orchestrator", "trainables"}


def test_functions_are_measured_with_their_docstrings() -> None:
    source = 'class A:\n    def f(self):\n        """Doc."""\n        def g(): ...\n        return 1\n'
    assert list(functions(source)) == [("f", 4), ("g", 1)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") < FILE_LINES
    assert [(name, lines) for name, lines in functions(source) if lines >= FUNCTION_LINES] == []
