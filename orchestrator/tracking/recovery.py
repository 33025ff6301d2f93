"""Sends what earlier drivers spooled and could not send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.tracking.client import answers
from orchestrator.tracking.faults import brief
from orchestrator.tracking.spool import Segment, abandoned, store_key
from orchestrator.tracking.writer import Writer

_TRIES = 5


class Recovery:
    """Of the segments in `folder` for the store at `uri`.

    A segment that fails again and again while the store answers everything else is left for the next start, so
    that it does not hold up what comes after it; `refused` hears of it. `progress` is called after every batch.
    """

    def __init__(
        self, folder: Path, uri: str, refused: Callable[[str], None], progress: Callable[[], None] = lambda: None
    ) -> None:
        self._folder, self._store = folder, store_key(uri)
        self._refused, self._progress = refused, progress
        self._failures: Counter[Path] = Counter()

    def send(self, client: Any, batch: int = 1000) -> None:
        """All of them, at most `batch` events at a time; raises what MLflow raises where it may be its outage."""
        for segment in abandoned(self._folder, self._store):
            if self._failures[segment.path] >= _TRIES:
                segment.release()
                continue
            try:
                self._drain(client, segment, batch)
            except Exception as error:
                segment.release()
                if not answers(client):
                    raise
                self._failures[segment.path] += 1
                if self._failures[segment.path] < _TRIES:
                    raise
                self._refused(f"all of {segment.path.name}, which an earlier driver left ({brief(error)})")
            else:
                segment.remove()

    def _drain(self, client: Any, segment: Segment, batch: int) -> None:
        writer = Writer(client, segment.header() or {}, segment.files, self._refused, "replay")
        while True:
            events, end = segment.read(batch)
            if end == segment.offset:
                return
            writer.apply(events)
            segment.applied(end)
            self._failures[segment.path] = 0
            self._progress()
