"""Events for MLflow on local disk: one segment (a JSONL file) for each life of a driver.

A segment is locked by the process that writes it and removed once everything in it has been applied. So a segment
that nobody locks was left by a driver that was killed or that could not reach the server; the next start replays
it. A cursor beside it says how far it has been applied; losing the cursor only means applying events again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from orchestrator.tracking.client import shown

Event = dict[str, Any]
_SUFFIX = ".jsonl"


class Segment:
    """One spool file. Appending is safe from any thread; reading belongs to the thread that applies."""

    def __init__(self, path: Path, handle: IO[bytes]) -> None:
        self.path = path
        self._handle = handle
        self._lock = threading.Lock()
        self.offset = self._read_cursor()
        """Bytes applied so far."""
        self._files = 0

    @classmethod
    def create(cls, folder: Path, name: str) -> Segment:
        """A new locked segment in `folder`; `name` (of the sweep) makes it readable, the time makes it unique."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{time.time_ns()}.{os.getpid()}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        handle = os.fdopen(descriptor, "ab")
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(path, handle)

    @classmethod
    def take(cls, path: Path) -> Segment | None:
        """An abandoned segment, locked; None where its writer lives or another took or removed it."""
        try:
            handle = path.open("r+b")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.close()
            return None
        if not path.exists():
            handle.close()
            return None
        return cls(path, handle)

    @property
    def files(self) -> Path:
        """Folder of the files that wait to be uploaded."""
        return self.path.with_suffix(".files")

    def append(self, event: Event) -> None:
        line = json.dumps(event, separators=(",", ":"), default=str).encode() + b"\n"
        with self._lock:
            self._handle.write(line)
            self._handle.flush()

    def keep(self, source: Path) -> str:
        """Copy a file or folder, so that it can be uploaded even when the source is gone; returns its key."""
        with self._lock:
            self._files += 1
            key = f"{time.time_ns()}-{self._files}/{source.name}"
        target = self.files / key
        target.parent.mkdir(parents=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
        return key

    def sync(self) -> None:
        """Survive a power cut, too; a killed process loses nothing even without."""
        os.fsync(self._handle.fileno())

    def header(self) -> Event | None:
        """The first event, or None where there is no whole one."""
        with self.path.open("rb") as handle:
            return _parse(handle.readline())

    def read(self, limit: int) -> tuple[list[Event], int]:
        """Up to `limit` events not yet applied, and the offset to give to `applied` afterwards."""
        events: list[Event] = []
        with self.path.open("rb") as handle:
            handle.seek(self.offset)
            end = self.offset
            for line in handle:
                if not line.endswith(b"\n") or len(events) == limit:
                    break
                end += len(line)
                event = _parse(line)
                if event is not None:
                    events.append(event)
        return events, end

    def applied(self, offset: int) -> None:
        self.offset = offset
        temporary = self._cursor.with_suffix(".tmp")
        temporary.write_text(str(offset), "ascii")
        temporary.replace(self._cursor)

    def drained(self) -> bool:
        return self.offset >= self.path.stat().st_size

    def remaining(self) -> int:
        """Events not yet applied."""
        with self.path.open("rb") as handle:
            handle.seek(self.offset)
            return sum(1 for _ in handle)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._cursor.unlink(missing_ok=True)
        shutil.rmtree(self.files, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let another process take it."""
        self._handle.close()

    @property
    def _cursor(self) -> Path:
        return self.path.with_suffix(".cursor")

    def _read_cursor(self) -> int:
        try:
            return int(self._cursor.read_text("ascii"))
        except (OSError, ValueError):
            return 0


def abandoned(folder: Path, store: str) -> Iterator[Segment]:
    """Segments for this store that a driver left, oldest first, each locked; empty ones are removed."""
    for path in sorted(folder.glob(f"*{_SUFFIX}"), key=lambda p: p.name.split(".")[-3:]):
        segment = Segment.take(path)
        if segment is None:
            continue
        header = segment.header()
        if header is None:
            segment.remove()
        elif header.get("store") == store:
            yield segment
        else:
            segment.release()


def waiting(folder: Path) -> bool:
    """Whether a driver left a segment: a cheap test, without MLflow, of whether there is anything to mend."""
    for path in folder.glob(f"*{_SUFFIX}"):
        segment = Segment.take(path)
        if segment is not None:
            segment.release()
            return True
    return False


def unsent(folder: Path) -> int:
    """Bytes of the events that wait in the folder, whoever writes them."""
    waiting = 0
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError, ValueError):  # a segment that goes meanwhile has been sent
            cursor = path.with_suffix(".cursor")
            waiting += path.stat().st_size - (int(cursor.read_text("ascii")) if cursor.exists() else 0)
    return waiting


def store_key(uri: str) -> str:
    """Names a tracking store in a spool; whoever logs in, and with which password, it is the same one."""
    return hashlib.sha256(shown(uri).encode()).hexdigest()[:16]


def _parse(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
