"""Progress of one long loop: a bar on a terminal, a line every tenth elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from orchestrator.display.words import clock, roughly


@contextmanager
def counting(what: str, stream: TextIO, *, live: bool) -> Iterator[Callable[[int, int], None]]:
    """Yields a function to be called with (done, total)."""
    if not live:
        yield _lines(what, stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream, force_terminal=True), refresh_per_second=4) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str, stream: TextIO) -> Callable[[int, int], None]:
    from time import monotonic

    began, told = monotonic(), -1

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = done * 10 // max(total, 1)
        if tenth == told:
            return
        told = tenth
        passed = monotonic() - began
        left = f", about {roughly(passed * (total - done) / done)} left" if 0 < done < total else ""
        print(f"[{clock(passed):>5}] {what}: {done}/{total}{left}", file=stream, flush=True)

    return tell
