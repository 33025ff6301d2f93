"""Where Ray keeps what it writes of a Tune or Train run: nothing that is read again, but it wants a place.

On a local cluster that is a temporary folder. On a cluster that others have started any process may come to lie on
any node, so it is a folder in the storage, of which `ROOT` tells every process. What a driver that was killed left
there, the next one that drives the sweep removes.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import Any

from trainables.errors import OrchError
from trainables.storage import Storage

ROOT = "ORCH_RAY_STORAGE"
"""The variable that names the folder, as an URL; set by `connected`, not by users."""
FOLDER = "ray"


@contextmanager
def ray_folder(prefix: str) -> Iterator[dict[str, Any]]:
    """`storage_path` and `storage_filesystem` for a RunConfig; what lies there is removed at the end."""
    root = os.environ.get(ROOT)
    if not root:
        with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
            yield {"storage_path": folder}
        return
    storage = Storage(root).at(f"{prefix}{uuid.uuid4().hex[:12]}")
    filesystem, path = storage.arrow()
    try:
        yield {"storage_path": path, "storage_filesystem": filesystem}
    finally:
        with suppress(OrchError, OSError):  # a leftover of a few bytes, no reason to fail
            storage.remove("")
