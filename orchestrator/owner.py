"""Who does something: a process that another one, perhaps on another machine, can know again or know to be gone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Owner(BaseModel):
    """A process, told apart from a later one with the same number."""

    model_config = ConfigDict(frozen=True)

    host: str
    pid: int
    boot: str
    """Identifier of the boot of the host; empty where the system tells none."""
    started: str
    """Start time of the process in the system's own count; a reused pid has another one."""
    namespace: str = ""
    """In which the pid means something; two containers of one host each have their own."""

    @classmethod
    def me(cls) -> Owner:
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            boot=_boot(),
            started=_started(os.getpid()),
            namespace=_namespace(),
        )

    @classmethod
    def parse(cls, text: str | None) -> Owner | None:
        try:
            return cls.model_validate_json(text or "")
        except ValueError:
            return None

    def gone(self) -> bool:
        """True only where it is certain: this host, and no such process. Another host's are left alone."""
        if self.host != socket.gethostname():
            return False
        if self.boot != _boot():
            return True
        if self.namespace and self.namespace != _namespace():
            return False
        if not _running(self.pid):
            return True
        return bool(self.started) and _started(self.pid) != self.started


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Field 22 of /proc/<pid>/stat; the name in field 2 may itself hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie has ended, though its parent has not yet asked for its status.
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True
