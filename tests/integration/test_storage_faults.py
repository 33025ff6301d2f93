"""An S3 store that fails in every way that one can, over real HTTP: what passes is waited for, the rest is told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.services.s3 import S3Server
from trainables.storage import Storage, StorageAway, StorageError, patience, retry, s3_system, s3_transfer
from trainables.storage.s3_system import PatientS3, file_system

PART = 5 * 2**20  # the least that S3 allows
LARGE = b"".join(bytes([n]) * 2**20 for n in range(12))  # of three parts, no two alike
BUSY = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


@pytest.fixture
def storage(s3_environment: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.02)
    monkeypatch.setattr(s3_system, "PART", PART)
    storage = Storage(f"s3://{bucket}/root")
    storage.write_text("there", "data")
    return storage


@pytest.fixture
def proxy(storage: Storage, s3_proxy: FaultProxy) -> FaultProxy:
    s3_proxy.reset()
    return s3_proxy


@pytest.fixture
def _short_silences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientS3, "read_timeout", 1.0)


def opened(storage: Storage) -> bytes:
    with storage.open("there") as handle:
        return handle.read()


Operation = Callable[[Storage, Path], object]
OPERATIONS: dict[str, tuple[Operation, object, int]] = {
    "exists": (lambda s, _: s.exists("there"), True, 1),
    "exists not": (lambda s, _: s.exists("absent"), False, 1),
    "read": (lambda s, _: s.read_bytes("there"), b"data", 1),
    "open": (lambda s, _: opened(s), b"data", 1),
    "download": (lambda s, folder: s.download("there", folder / "x").read_bytes(), b"data", 1),
    "write": (lambda s, _: s.write_text("there", "new"), None, 1),
    "upload": (lambda s, folder: s.upload(a_file(folder), "there"), None, 1),
    "create": (lambda s, _: s.create("new", b"x"), True, 1),
    "modified": (lambda s, _: (s.modified("there") or 0) > 0, True, 1),
    "list": (lambda s, _: [info.key for info in s.list()], ["there"], 1),
    "folders": (lambda s, _: list(s.folders()), [], 1),
    "remove": (lambda s, _: s.remove("there"), None, 2),
    "remove nothing": (lambda s, _: s.remove("absent"), None, 1),
}


def a_file(folder: Path) -> Path:
    path = folder / "local"
    path.write_bytes(b"local")
    return path


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_costs_few_requests_and_two_failures_more_by_two(
    name: str, storage: Storage, proxy: FaultProxy, tmp_path: Path
) -> None:
    operation, expected, requests = OPERATIONS[name]
    proxy.fault("status", times=1)
    proxy.fault("status", times=1, code=500, body=BUSY)
    assert operation(storage, tmp_path) == expected
    assert sorted(request.status for request in proxy.requests)[-2:] == [500, 503]
    assert len(proxy.requests) == requests + 2


def test_a_folder_is_removed_by_two_requests(storage: Storage, proxy: FaultProxy) -> None:
    for number in range(20):
        storage.write_bytes(f"folder/{number}", b"x")
    proxy.reset()
    storage.remove("folder")
    assert [request.method for request in proxy.requests] == ["GET", "POST"]
    assert [info.key for info in storage.list()] == ["there"]


@pytest.mark.usefixtures("_short_silences")
def test_a_store_that_hangs_is_asked_again(storage: Storage, proxy: FaultProxy) -> None:
    proxy.fault("hang", times=2)
    assert storage.read_text("there") == "data"
    assert [request.status for request in proxy.requests] == [0, 0, 200 + 6]


def test_refused_connections_are_waited_for(storage: Storage, proxy: FaultProxy) -> None:
    proxy.fault("refuse", seconds=2)
    storage.write_text("k", "v")
    assert storage.read_text("k") == "v"


@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_a_connection_lost_in_a_download_costs_one_part(
    kind: str, storage: Storage, proxy: FaultProxy, tmp_path: Path
) -> None:
    storage.write_bytes("large", LARGE)
    proxy.reset()
    proxy.fault("cut" if kind == "cut" else "reset", times=2, match="GET")
    assert storage.download("large", tmp_path / "large").read_bytes() == LARGE
    assert len(proxy.requests) == 3 + 2
    assert sum(r.received for r in proxy.requests) <= len(LARGE) + 2 * PART
    assert [path.name for path in tmp_path.iterdir()] == ["large"]


def test_a_large_object_is_read_in_ranges(
    storage: Storage, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.storage import s3_reader

    monkeypatch.setattr(s3_reader, "BLOCK", 2**20)
    storage.write_bytes("large", LARGE)
    proxy.reset()
    with storage.open("large") as handle:
        handle.seek(-3, 2)
        assert handle.read() == LARGE[-3:]
        proxy.fault("cut", times=1, match="GET")
        handle.seek(2**20 - 5)
        assert handle.read(10) == LARGE[2**20 - 5 : 2**20 + 5]
        handle.seek(0)
        assert handle.read() == LARGE
    assert sum(r.received for r in proxy.requests) < 16 * 2**20
    assert len(proxy.requests) <= 8


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_connection_lost_in_an_upload_costs_one_part(
    kind: str, storage: Storage, proxy: FaultProxy, tmp_path: Path
) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    for match in ("PUT .*partNumber=2", "POST .*uploadId="):
        proxy.fault("cut" if kind == "cut" else "reset", times=1, match=match)
    storage.upload(tmp_path / "large", "large")
    assert storage.read_bytes("large") == LARGE
    puts = [r for r in proxy.requests if r.method == "PUT"]
    assert len(puts) == 3 + 1
    assert sum(r.method == "POST" for r in proxy.requests) == 2 + 1


@pytest.mark.usefixtures("_short_silences")
def test_a_slow_store_is_waited_for(storage: Storage, proxy: FaultProxy) -> None:
    storage.write_bytes("k", bytes(300_000))
    proxy.fault("slow", rate=200_000)  # longer than a silence may be
    assert len(storage.read_bytes("k")) == 300_000
    storage.write_bytes("k", bytes(300_000))
    assert [r.status for r in proxy.requests[-2:]] == [206, 200]


@pytest.mark.parametrize("size", ["one request", "parts"])
def test_an_upload_given_up_leaves_what_was_there(
    size: str, storage: Storage, proxy: FaultProxy, s3: S3Server, bucket: str
) -> None:
    data = LARGE if size == "parts" else b"new"
    proxy.fault("reset", match="PUT .*partNumber=2" if size == "parts" else "PUT")
    with patience(0.5), pytest.raises(StorageAway, match="has been away"):
        storage.write_bytes("there", data)
    assert s3.objects(bucket) == {"root/there": 4}
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)
    proxy.clear()
    storage.write_bytes("there", data)
    assert storage.read_bytes("there") == data


def test_patience_ends_with_a_sentence(storage: Storage, proxy: FaultProxy) -> None:
    proxy.fault("status")
    began = time.monotonic()
    with patience(0.5), pytest.raises(StorageAway) as caught:
        storage.read_bytes("there")
    assert time.monotonic() - began < 60
    told = str(caught.value)
    assert f"{storage.url('there')}: the store at {proxy.endpoint} has been away for 1 s" in told.replace(
        "0 s", "1 s"
    )
    assert "(last: it answers 503 SlowDown)" in told
    assert "ORCH_STORAGE_PATIENCE" in told
    assert len(proxy.requests) > 3
    before = len(proxy.requests)
    with patience(0), pytest.raises(StorageAway):
        storage.list()
    assert len(proxy.requests) == before + 1


def test_whose_write_was_answered_by_silence_knows_that_it_was_theirs(storage: Storage, proxy: FaultProxy) -> None:
    proxy.fault("cut", times=1, match="PUT")  # the store has it, and we never hear so
    assert storage.create("lock", b"mine")
    assert [(r.method, r.status) for r in proxy.requests] == [("PUT", 0), ("PUT", 412), ("HEAD", 200)]
    assert not storage.create("lock", b"theirs")
    assert storage.read_bytes("lock") == b"mine"


def test_an_object_that_is_replaced_while_it_is_read_is_read_of_one_version(
    storage: Storage, s3: S3Server, bucket: str
) -> None:
    storage.write_bytes("large", LARGE)
    other = LARGE[::-1]
    pieces: dict[int, bytes] = {}

    class Replacing:
        replaced = False

        def begin(self, total: int) -> None:
            pieces.clear()

        def put(self, start: int, data: bytes) -> None:
            if not self.replaced:
                s3.client().put_object(Bucket=bucket, Key="root/large", Body=other)
                self.replaced = True
            pieces[start] = data

    file_system().wait(s3_transfer.pull, f"{bucket}/root/large", Replacing())
    assert b"".join(pieces[start] for start in sorted(pieces)) == other


@pytest.mark.parametrize("way", ["down", "up"])
def test_who_is_interrupted_ends_the_transfer(
    way: str, storage: Storage, proxy: FaultProxy, tmp_path: Path, s3: S3Server
) -> None:
    (tmp_path / "local").write_bytes(LARGE)
    if way == "down":
        storage.upload(tmp_path / "local", "large")
        proxy.reset()
    proxy.fault("slow", rate=2**20, match="partNumber|GET")
    threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        if way == "down":
            storage.download("large", tmp_path / "down")
        else:
            storage.upload(tmp_path / "local", "large")
    proxy.clear()
    with (tmp_path / "another").open("wb") as handle:  # likely under the number of the file that was open
        handle.write(b"mine")
        handle.flush()
        time.sleep(1.0)
    assert (tmp_path / "another").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "local"]
    assert storage.exists("large") == (way == "down")
    bucket, deadline = storage.root.split("/")[2], time.monotonic() + 60
    while "Uploads" in s3.client().list_multipart_uploads(Bucket=bucket) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


REMOVED = b"<DeleteResult><Error><Key>root/f/1</Key><Code>%s</Code><Message>m</Message></Error></DeleteResult>"


def test_what_s3_says_it_did_not_remove_is_not_removed(storage: Storage, proxy: FaultProxy) -> None:
    for number in range(3):
        storage.write_bytes(f"f/{number}", b"x")
    proxy.fault("status", times=1, match="POST", code=200, body=REMOVED % b"AccessDenied")
    with pytest.raises(StorageError, match="grant s3:DeleteObject"):
        storage.remove("f")
    proxy.fault("status", times=1, match="POST", code=200, body=REMOVED % b"InternalError")
    storage.remove("f")
    assert storage.list("f") == []
