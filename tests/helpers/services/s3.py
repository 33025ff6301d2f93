"""An S3-compatible store: moto's server over real HTTP."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.helpers.services.process import Service, free_port, listens

KEY, SECRET, REGION = "AKIATESTORCHTESTORCH", "not-a-secret-of-anyone", "us-east-1"


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    service: Service

    @property
    def environment(self) -> dict[str, str]:
        return self.through(self.endpoint)

    def through(self, endpoint: str) -> dict[str, str]:
        """The same store behind another address, for example of a FaultProxy."""
        return {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self) -> Any:
        """boto3's own client, at the server itself: what really is there, whatever a proxy does."""
        return _client(self.endpoint)

    def make_bucket(self, name: str) -> str:
        """Returns the bucket's URL."""
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}"

    def objects(self, bucket: str) -> dict[str, int]:
        """Bytes by key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}


@cache
def _client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=KEY, aws_secret_access_key=SECRET, region_name=REGION
    )


@contextmanager
def s3_server(
    folder: Path, *, host: str = "127.0.0.1", port: int | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[S3Server]:
    """`environment`: of the server itself, for example moto's S3_IGNORE_SUBDOMAIN_BUCKETNAME."""
    port = port or free_port(host)
    command = [sys.executable, "-P", str(Path(__file__).with_name("moto_server.py")), "-H", host, "-p", str(port)]
    with Service(command, folder / "s3.log", lambda: listens(host, port), environment) as service:
        yield S3Server(f"http://{host}:{port}", service)
