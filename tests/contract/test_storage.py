"""Every kind of storage root offers the same: whole objects or none, listings without half-written ones."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path

import pytest

from trainables.storage import FileInfo, Storage, StorageError


@pytest.fixture(params=["folder", "file-url", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
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


def test_a_failed_upload_leaves_nothing(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    storage.write_text("k", "old")
    with pytest.raises(FileNotFoundError):
        storage.upload(tmp_path / "absent", "k")
    assert storage.read_text("k") == "old"
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["k"]


def test_half_written_objects_are_not_listed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write_text("k", "v")
    (tmp_path / ".k.12345678.part").write_text("ha")
    assert [info.key for info in storage.list()] == ["k"]


def test_an_unknown_protocol_is_a_user_s_mistake() -> None:
    with pytest.raises(StorageError, match="give a folder or an fsspec URL"):
        Storage("nowhere://x").exists("k")
