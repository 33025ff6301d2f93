"""The only door to files and object stores: any fsspec URL is a storage root.

Keys are relative, with `/` between their parts. A write is atomic: a reader sees the old object or the whole
new one. Credentials come from the environment or a role, never through this package, and no error, representation
or pickle of it holds one. An S3 store that is away is tried again until ORCH_STORAGE_PATIENCE is over.

An upload in parts that a killed process began is never seen, but kept by the store until it is told otherwise: give
the bucket a lifecycle rule that aborts incomplete uploads.
"""

from __future__ import annotations

from trainables.storage.errors import StorageAway, StorageError
from trainables.storage.keys import FileInfo
from trainables.storage.retry import patience
from trainables.storage.root import Storage, sha256

__all__ = ["FileInfo", "Storage", "StorageAway", "StorageError", "patience", "sha256"]
