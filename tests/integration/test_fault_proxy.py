"""The proxy in front of a real store: what passes is whole, and each fault is what its name says."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import KEY, REGION, SECRET, S3Server, s3_server

BIG = os.urandom(3_000_001)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        server.make_bucket("bucket")
        yield server


@pytest.fixture
def proxy(store: S3Server) -> Iterator[FaultProxy]:
    with FaultProxy(store.endpoint) as proxy:
        yield proxy


@pytest.fixture
def s3(proxy: FaultProxy) -> Any:
    import boto3
    from botocore.config import Config

    once = Config(retries={"total_max_attempts": 1}, read_timeout=2, connect_timeout=2)
    return boto3.client(
        "s3",
        endpoint_url=proxy.endpoint,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name=REGION,
        config=once,
    )


def read(s3: Any, key: str) -> bytes:
    data: bytes = s3.get_object(Bucket="bucket", Key=key)["Body"].read()
    return data


def test_what_passes_is_whole_and_counted(s3: Any, proxy: FaultProxy, store: S3Server) -> None:
    s3.put_object(Bucket="bucket", Key="k", Body=BIG)
    assert store.objects("bucket")["k"] == len(BIG)
    assert read(s3, "k") == BIG
    assert s3.head_object(Bucket="bucket", Key="k")["ContentLength"] == len(BIG)
    put, get, head = proxy.requests
    assert (put.method, put.path, put.status, put.received) == ("PUT", "/bucket/k", 200, 0)
    assert len(BIG) <= put.sent < len(BIG) * 1.01
    assert get == ("GET", "/bucket/k", 200, 0, len(BIG))
    assert head == ("HEAD", "/bucket/k", 200, 0, 0)
    proxy.reset()
    assert proxy.requests == []


def test_a_status_is_answered_as_often_as_ordered(s3: Any, proxy: FaultProxy, store: S3Server) -> None:
    from botocore.exceptions import ClientError

    proxy.fault("status", times=2, match="^PUT .*/never")
    s3.put_object(Bucket="bucket", Key="other", Body=b"1")
    for _ in range(2):
        with pytest.raises(ClientError, match="SlowDown"):
            s3.put_object(Bucket="bucket", Key="never", Body=b"1")
    assert "never" not in store.objects("bucket")
    s3.put_object(Bucket="bucket", Key="never", Body=b"1")
    assert [request.status for request in proxy.requests] == [200, 503, 503, 200]


def test_a_hang_is_never_answered(s3: Any, proxy: FaultProxy) -> None:
    from botocore.exceptions import ReadTimeoutError

    proxy.fault("hang", times=1)
    with pytest.raises(ReadTimeoutError):
        s3.put_object(Bucket="bucket", Key="hang", Body=b"1")
    s3.put_object(Bucket="bucket", Key="hang", Body=b"1")
    assert [request.status for request in proxy.requests] == [0, 200]


def test_a_cut_answer_ends_in_its_middle(s3: Any, proxy: FaultProxy, store: S3Server) -> None:
    from botocore.exceptions import BotoCoreError

    store.client().put_object(Bucket="bucket", Key="cut", Body=BIG)
    proxy.fault("cut", times=2)
    with pytest.raises(BotoCoreError):
        read(s3, "cut")
    with pytest.raises(BotoCoreError):  # written, though the client hears nothing of it
        s3.put_object(Bucket="bucket", Key="heard", Body=b"1")
    assert "heard" in store.objects("bucket")
    assert [request.received for request in proxy.requests] == [len(BIG) // 2 + 1, 0]


def test_a_slow_server_takes_its_time(s3: Any, proxy: FaultProxy, store: S3Server) -> None:
    store.client().put_object(Bucket="bucket", Key="slow", Body=b"x" * 10_000)
    proxy.fault("slow", rate=20_000)
    started = time.monotonic()
    assert read(s3, "slow") == b"x" * 10_000
    assert time.monotonic() - started >= 0.5
    proxy.clear()


def test_a_reset_and_a_refusal_reach_the_client(s3: Any, proxy: FaultProxy) -> None:
    from botocore.exceptions import BotoCoreError, EndpointConnectionError

    proxy.fault("reset", times=1)
    with pytest.raises(BotoCoreError):
        s3.list_objects_v2(Bucket="bucket")
    proxy.fault("refuse")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port))
    with pytest.raises(EndpointConnectionError):
        s3.list_objects_v2(Bucket="bucket")
    proxy.clear()
    for _ in range(50):
        try:
            s3.list_objects_v2(Bucket="bucket")
            break
        except EndpointConnectionError:
            time.sleep(0.1)
    assert [request.status for request in proxy.requests] == [0, 200]


def test_a_target_that_is_gone_is_no_answer(tmp_path: Path) -> None:
    from urllib.request import urlopen

    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with FaultProxy(address) as proxy:
        with pytest.raises(OSError):
            urlopen(proxy.endpoint)
        assert [request.status for request in proxy.requests] == [0]
