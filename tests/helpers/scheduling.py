"""Which tests stay together when several processes share them: a file's, and all on the session's Ray cluster.

Done here, as xdist's `--dist loadgroup` groups nothing under pytest 9.2: it marks tests by an attribute of theirs
that pytest no longer reads.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

CLUSTER = "cluster"
PARAMETER = "cluster: Cluster"


@cache
def file_scope(file: Path) -> str:
    return CLUSTER if PARAMETER in file.read_text(encoding="utf-8") else str(file)


def scope(root: Path, nodeid: str) -> str:
    """By the annotation, which every parameter here has: the process that distributes collects no test itself."""
    return file_scope(root / nodeid.partition("::")[0])
