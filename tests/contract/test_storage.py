"""Every kind of storage root offers the same: whole objects or none, listings without half-written ones."""

from __future__ import annotations

import pickle
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trainables.storage import FileInfo, Storage, StorageError


@pytest.fixture(params=["folder", "file-url", "memory", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        bucket = request.getfixturevalue("bucket")
        request.getfixturevalue("s3_environment")
        return Storage(f"s3://{bucket}/some/root")
    roots = {
        "folder": str(tmp_path / "root"),
        "file-url": f"file://{tmp_path}/root",
        "memory": f"memory://{uuid.uuid4().hex}",
    }
    return Storage(roots[request.param])


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write_text("a/b.txt", "grün")
    assert storage.read_text("a/b.txt") == "grün"
    storage.write_text("a/b.txt", "rot")
    assert storage.read_bytes("a/b.txt") == b"rot"
    with storage.open("a/b.txt") as handle:
        handle.seek(1)
        assert handle.read() == b"ot"


def test_listings_are_in_order_and_relative(storage: Storage) -> None:
    assert storage.list() == []
    assert storage.folders("sweeps") == []
    for key in ("sweeps/b/1", "sweeps/a/2", "sweeps/top", "x"):
        storage.write_bytes(key, b"12")
    assert storage.list("sweeps") == [
        FileInfo("sweeps/a/2", 2),
        FileInfo("sweeps/b/1", 2),
        FileInfo("sweeps/top", 2),
    ]
    assert list(storage.folders("sweeps")) == ["a", "b"]
    assert storage.at("sweeps").list("a") == [FileInfo("a/2", 2)]


def test_up_and_down(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"data")
    storage.upload(tmp_path / "here", "k/one")
    assert storage.download("k/one", tmp_path / "deep" / "there").read_bytes() == b"data"
    storage.remove("k")
    assert not storage.exists("k/one")
    storage.remove("k")


def test_a_folder_is_removed_and_its_siblings_stay(storage: Storage) -> None:
    for key in ("a/1", "a/b/2", "a-1/3", "a.json", "ab/4", "a0"):
        storage.write_bytes(key, b"x")
    storage.remove("a")
    assert [info.key for info in storage.list()] == ["a-1/3", "a.json", "a0", "ab/4"]
    storage.remove("a.json")
    assert [storage.exists(key) for key in ("a/1", "a.json", "a0")] == [False, False, True]


def test_what_is_empty_is_stored_too(storage: Storage, tmp_path: Path) -> None:
    storage.write_bytes("k", b"")
    assert storage.read_bytes("k") == b""
    assert storage.download("k", tmp_path / "k").read_bytes() == b""
    with storage.open("k") as handle:
        assert handle.read() == b""
    assert storage.list() == [FileInfo("k", 0)]


def test_only_what_is_not_there_is_created(storage: Storage) -> None:
    assert storage.create("a/lock", b"one")
    assert not storage.create("a/lock", b"two")
    assert storage.read_bytes("a/lock") == b"one"
    assert [info.key for info in storage.list()] == ["a/lock"]
    storage.remove("a/lock")
    assert storage.create("a/lock", b"three")


def test_of_several_who_create_one_wins(storage: Storage) -> None:
    if storage.root.startswith("memory:"):
        pytest.skip("fsspec's memory is of one thread")
    texts = [f"writer {number}".encode() for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda text: storage.create("lock", text), texts))
    assert won.count(True) == 1
    assert storage.read_bytes("lock") == texts[won.index(True)]


def test_the_time_of_a_write_is_known(storage: Storage) -> None:
    assert storage.modified("k") is None
    storage.write_text("k", "v")
    first = storage.modified("k")
    assert first is not None
    assert abs(first - time.time()) < 60
    storage.write_text("k", "w")
    assert (storage.modified("k") or 0) >= first


def test_arrow_reads_and_writes_the_same_objects(storage: Storage) -> None:
    fs, path = storage.arrow()
    storage.write_bytes("in/k", b"data")
    with fs.open_input_file(f"{path}/in/k") as handle:
        assert handle.read() == b"data"
    with fs.open_output_stream(f"{path}/in/other") as out:
        out.write(b"more")
    assert storage.read_bytes("in/other") == b"more"
    again = pickle.loads(pickle.dumps(fs))
    assert again.get_file_info(f"{path}/in/other").size == 4


def test_who_else_reaches_it_is_known(storage: Storage) -> None:
    assert storage.remote == storage.root.startswith("s3:")
    assert (storage.local is not None) == (not storage.root.startswith(("s3:", "memory:")))


def test_an_absent_object_is_named(storage: Storage, tmp_path: Path) -> None:
    for call in (
        lambda: storage.read_bytes("no/such"),
        lambda: storage.download("no/such", tmp_path / "x"),
        lambda: storage.open("no/such").__enter__(),
    ):
        with pytest.raises(StorageError, match="no/such: there is no such object"):
            call()
    assert not (tmp_path / "x").exists()


def test_a_key_cannot_leave_the_root(storage: Storage) -> None:
    with pytest.raises(StorageError, match="leaves its storage root"):
        storage.write_text("../outside", "x")


def test_it_travels_as_its_url_alone(storage: Storage) -> None:
    storage.write_text("k", "v")
    blob = pickle.dumps(storage)
    assert len(blob) < 300
    assert pickle.loads(blob).url("k") == storage.url("k")


def test_a_failed_upload_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    storage.write_text("k", "old")
    with pytest.raises(FileNotFoundError):
        storage.upload(tmp_path / "absent", "k")
    assert storage.read_text("k") == "old"
    assert [info.key for info in storage.list()] == ["k"]
    if storage.local is not None:
        assert [path.name for path in storage.local.iterdir()] == ["k"]


def test_half_written_objects_are_not_listed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write_text("k", "v")
    (tmp_path / ".k.12345678.part").write_text("ha")
    assert [info.key for info in storage.list()] == ["k"]


def test_an_unknown_protocol_is_a_user_s_mistake() -> None:
    with pytest.raises(StorageError, match="give a folder or an fsspec URL"):
        Storage("nowhere://x").exists("k")
