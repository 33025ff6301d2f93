"""moto's server, with a promise of S3 that moto's threads break: of several conditional writes one wins."""

from __future__ import annotations

from threading import Lock
from typing import Any

from moto.s3.responses import S3Response
from moto.server import main

_lock = Lock()
_put_object = S3Response.put_object


def put_object(self: S3Response) -> Any:
    """Whether something is there, the write, and its metadata are one step."""
    with _lock:
        return _put_object(self)


if __name__ == "__main__":
    setattr(S3Response, "put_object", put_object)  # noqa: B010 - mypy refuses the plain assignment
    main()
