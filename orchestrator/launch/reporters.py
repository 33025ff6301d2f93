"""How a training loop in a worker speaks to the driver: epochs through Ray, checkpoints through the storage.

A checkpoint is one object, `<prefix>/state.tar`, so that a reader sees all of it or none: its checksum in
hexadecimal, a line's end, a tar archive. A damaged one is as good as none. It carries the epochs told so far, and
they are told again after a restart: what the driver had not yet written down is not lost. A metric that is not
finite is left out of its epoch: JSON has no word for it.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.events import Report
from trainables.errors import PreemptedError
from trainables.storage import Storage

Tell = Callable[[list[Report]], None]
_STATE, _HISTORY = "state.tar", "reports.json"


def never() -> bool:
    """Nobody gives this process notice."""
    return False


@dataclass(frozen=True)
class Checkpoints:
    """Where one run's checkpoint lies."""

    storage: Storage
    prefix: str

    def save(self, folder: Path) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.add(path, path.relative_to(folder).as_posix(), recursive=False)
        content = buffer.getvalue()
        self.storage.write_bytes(f"{self.prefix}/{_STATE}", _digest(content) + b"\n" + content)

    def restore(self, folder: Path) -> bool:
        """Fill `folder` with the checkpoint; False where there is none, or none that is whole."""
        key = f"{self.prefix}/{_STATE}"
        if not self.storage.exists(key):
            return False
        digest, _, content = self.storage.read_bytes(key).partition(b"\n")
        if digest != _digest(content):
            return False
        # "r:" is never compressed, so that nothing unpacks to more than was read.
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
            archive.extractall(folder, filter="data")
        return True

    def remove(self) -> None:
        self.storage.remove(self.prefix)


@dataclass
class StoredReporter:
    """The reporter of every worker: `tell` passes epochs on; only the first rank has one that does."""

    tell: Tell
    checkpoints: Checkpoints
    noticed: Callable[[], bool] = never
    """Whether this process is about to be ended."""
    history: list[Report] = field(default_factory=list)
    _restored: bool = False

    def report(self, epoch: int, metrics: Mapping[str, float]) -> None:
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        report = Report(epoch=epoch, metrics=finite)
        untold = self.history if self._restored else []
        self._restored = False
        self.history = [*self.history, report]
        self.tell([*untold, report])

    def should_stop(self) -> bool:
        """A scheduler ends the trial within `report`; only a machine that is taken away asks for more."""
        return self.noticed()

    def stopped(self) -> None:
        """The checkpoint is there, and the run goes on where there is a machine for it."""
        raise PreemptedError("its machine is being taken away")

    def save(self, folder: Path) -> None:
        history = [report.model_dump() for report in self.history]
        (folder / _HISTORY).write_text(json.dumps(history), "utf-8")
        self.checkpoints.save(folder)

    def restore(self, folder: Path) -> bool:
        if not self.checkpoints.restore(folder):
            return False
        path = folder / _HISTORY
        self.history = [Report.model_validate(item) for item in json.loads(path.read_text("utf-8"))]
        path.unlink()
        self._restored = True
        return True


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode("ascii")


def silent(reports: list[Report]) -> None:
    """Tells nobody: for every rank but the first."""
