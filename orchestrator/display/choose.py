"""Which display fits where the words go, and the way there for everything that is not the one JSON document."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

from rich.console import Console

from orchestrator.display.board import BoardSpec
from orchestrator.display.live import LiveDisplay
from orchestrator.display.plain import PlainDisplay


def is_terminal(stream: TextIO) -> bool:
    """Whether control codes make sense there; FORCE_COLOR and the like are left out of it."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def console(stream: TextIO) -> Console:
    """A console that writes control codes to terminals only; NO_COLOR takes the colours away there, too."""
    if is_terminal(stream):
        return Console(file=stream, force_terminal=True, highlight=False, markup=False)
    return Console(file=stream, force_terminal=False, color_system=None, highlight=False, markup=False)


def display(spec: BoardSpec, stream: TextIO, *, plain: bool = False) -> LiveDisplay | PlainDisplay:
    if is_terminal(stream) and not plain:
        return LiveDisplay(spec, console(stream))
    return PlainDisplay(spec, stream)


@contextmanager
def only_document() -> Iterator[TextIO]:
    """Send all that anybody writes to stdout, C libraries and child processes too, to stderr.

    Yields the real stdout, for the one document that belongs there.
    """
    real, saved = sys.stdout, None
    with suppress(OSError, ValueError):  # a test's stdout has no descriptor
        if real.fileno() == 1:
            real.flush()
            saved = os.dup(1)
            os.dup2(2, 1)
    out = os.fdopen(saved, "w", encoding="utf-8") if saved is not None else real
    try:
        with redirect_stdout(sys.stderr):
            yield out
    finally:
        out.flush()
        if saved is not None:
            os.dup2(saved, 1)
            out.close()
