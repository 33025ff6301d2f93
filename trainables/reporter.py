"""How a training loop speaks to whoever runs it: metrics out, checkpoints out and in, stop in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Reporter(Protocol):
    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Epoch `epoch` (from 1) has ended with these metrics. May not return: a scheduler may end the trial."""

    def should_stop(self) -> bool:
        """Whether to end after the epoch just reported, keeping what has been reached."""

    def stopped(self) -> None:
        """Some worker's `should_stop` ends the run before its time; the checkpoint of the epoch is saved.

        Called on every worker. May raise, where the run is to go on elsewhere instead of ending as it is.
        """

    def save(self, folder: Path) -> None:
        """Keep the files of `folder` as the latest checkpoint; they are complete."""

    def restore(self, folder: Path) -> bool:
        """Fill `folder` with the latest checkpoint; False where there is none."""


@dataclass
class ListReporter:
    """Keeps everything in memory; for tests and for runs that nobody watches."""

    reports: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    stop_after: int | None = None

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self.reports.append((epoch, dict(metrics)))

    def should_stop(self) -> bool:
        return self.stop_after is not None and len(self.reports) >= self.stop_after

    def stopped(self) -> None:
        return None

    def save(self, folder: Path) -> None:
        return None

    def restore(self, folder: Path) -> bool:
        return False
