"""Roots, keys and what a listing says of an object: strings alone, no file system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from trainables.storage.errors import StorageError


@dataclass(frozen=True)
class FileInfo:
    """`key` is relative to the root that listed it; `size` is in bytes."""

    key: str
    size: int


def checked_root(root: str) -> str:
    """The root as it is kept: a folder's absolute path, or the URL. Raises StorageError, showing no password."""
    scheme, separator, rest = root.partition("://")
    if not separator:
        if re.match(r"(s3a?|gs|gcs|abfs|memory):", root):
            raise StorageError(
                f"storage {root!r}: a URL has two slashes after its scheme; give {_two_slashes(root)}"
            )
        return str(Path(root).expanduser().absolute())
    host, s3 = rest.partition("/")[0], scheme in ("s3", "s3a")
    if _holds_credentials(host, s3=s3):
        shown = f"{scheme}://***"
        raise StorageError(
            f"storage {shown!r}: a URL with credentials in it would end in logs and records; give it without them, "
            "and the credentials by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
        )
    if s3:
        _check_s3(root, host, rest)
    return root


def _holds_credentials(host: str, *, s3: bool) -> bool:
    """A secret key may have a slash in it, so that of S3 a colon alone tells: no bucket has one, save an ARN."""
    return "@" in host or (":" in host and not host.startswith("arn:")) if s3 else ":" in host.rpartition("@")[0]


def _check_s3(root: str, bucket: str, rest: str) -> None:
    if not bucket:
        raise StorageError(f"storage {root!r}: names no bucket; give s3://BUCKET/FOLDER")
    if "?" in rest or "#" in rest:
        raise StorageError(
            f"storage {root.partition('?')[0]!r}: takes no options after '?' or '#'; set AWS_ENDPOINT_URL and "
            "AWS_REGION in the environment"
        )


def _two_slashes(root: str) -> str:
    scheme, _, rest = root.partition(":")
    return f"{scheme}://{rest.lstrip('/').rpartition('@')[2]}"


def clean(key: str) -> str:
    """The key without a leading or trailing slash; leaving the root is refused."""
    parts = PurePosixPath(key.strip("/")).parts
    if ".." in parts:
        raise StorageError(f"key {key!r} leaves its storage root")
    return "/".join(parts)


def is_temporary(key: str) -> bool:
    """Whether it is of a write in progress."""
    name = key.rsplit("/", 1)[-1]
    return name.startswith(".") and name.endswith(".part")
