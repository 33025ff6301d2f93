"""Each request to a store is told once, with what came of it and the bytes of the objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server
from trainables.storage import Storage, StorageError, traffic
from trainables.storage.traffic import Request

SIZE = 9 * 2**20
"""Of an object in two parts."""


@pytest.fixture
def told() -> Iterator[list[Request]]:
    found: list[Request] = []
    traffic.listen(found.append)
    yield found
    traffic.forget(found.append)


@pytest.fixture
def store(s3_environment: S3Server, bucket: str) -> Storage:
    return Storage(f"s3://{bucket}/store")


def test_bytes_are_counted_both_ways(store: Storage, told: list[Request]) -> None:
    store.write_bytes("small", b"12345")
    assert store.read_bytes("small") == b"12345"
    assert told == [Request("put_object", "done", sent=5), Request("get_object", "done", received=5)]


def test_an_object_in_parts_is_counted_whole(store: Storage, told: list[Request]) -> None:
    store.write_bytes("large", bytes(SIZE))
    store.read_bytes("large")
    assert sum(one.sent for one in told) == SIZE
    assert sum(one.received for one in told) == SIZE
    assert Counter(one.operation for one in told)["upload_part"] == 2


def test_an_absent_object_is_no_failure(store: Storage, told: list[Request]) -> None:
    assert not store.exists("absent")
    assert store.create("there", b"1")
    assert not store.create("there", b"2")
    assert {one.outcome for one in told} == {"done"}
    assert {one.operation for one in told} == {"head_object", "put_object"}


def test_what_is_repeated_is_told_each_time(store: Storage, told: list[Request], s3_proxy: FaultProxy) -> None:
    s3_proxy.fault("status", times=2, match="PUT")
    store.write_text("a", "b")
    assert [one.outcome for one in told] == ["again", "again", "done"]


def test_what_is_refused_is_told_as_failed(store: Storage, told: list[Request], s3_proxy: FaultProxy) -> None:
    s3_proxy.fault("status", times=1, match="PUT", code=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(StorageError, match="AccessDenied"):
        store.write_text("a", "b")
    assert [one.outcome for one in told] == ["failed"]


def test_a_listener_that_fails_fails_nobody(store: Storage, told: list[Request]) -> None:
    def broken(request: Request) -> None:
        raise RuntimeError

    traffic.listen(broken)
    try:
        store.write_text("a", "b")
    finally:
        traffic.forget(broken)
    assert [one.operation for one in told] == ["put_object"]
