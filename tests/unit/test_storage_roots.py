"""What may be a storage root, and that a root with a password in it is refused without showing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainables.errors import MachineError, UserError
from trainables.storage import Storage, StorageAway, StorageError

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY"


@pytest.mark.parametrize(
    "root",
    [
        f"s3://AKIAIOSFODNN7:{SECRET}@bucket/folder",
        f"s3://AKIAIOSFODNN7:{SECRET}",
        f"s3a://AKIAIOSFODNN7:{SECRET}@bucket",
        "ftp://me:wJalrXUtnFEMI@host/folder",
    ],
)
def test_credentials_in_a_root_are_refused_and_not_shown(root: str) -> None:
    with pytest.raises(StorageError, match="a URL with credentials in it") as caught:
        Storage(root)
    told = f"{caught.value}{caught.value!r}"
    assert "wJalrXUtnFEMI" not in told
    assert "AWS_SECRET_ACCESS_KEY" in told


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("s3:/bucket/folder", "a URL has two slashes after its scheme; give s3://bucket/folder"),
        ("s3:bucket", "give s3://bucket"),
        ("s3://", "names no bucket; give s3://BUCKET/FOLDER"),
        ("s3:///folder", "names no bucket"),
        ("s3://bucket/x?endpoint_override=host:9000", "set AWS_ENDPOINT_URL"),
    ],
)
def test_a_root_that_cannot_be_meant_is_refused(root: str, told: str) -> None:
    with pytest.raises(StorageError, match=told):
        Storage(root)


@pytest.mark.parametrize(
    ("root", "kept"),
    [
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/x", None),
        ("hdfs://me@host/folder", None),
        ("a folder", str(Path.cwd() / "a folder")),
        ("~/store", str(Path("~/store").expanduser())),
    ],
)
def test_other_roots_stay_as_they_are(root: str, kept: str | None) -> None:
    assert Storage(root).root == (kept or root)


def test_a_store_that_is_away_is_no_mistake_of_the_user_s() -> None:
    assert issubclass(StorageAway, MachineError)
    assert not issubclass(StorageAway, UserError)
    assert (StorageAway.exit_code, StorageError.exit_code) == (1, 2)


def test_where_a_file_system_has_no_links_a_file_is_created_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(source: object, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", link)
    storage = Storage(str(tmp_path))
    assert storage.create("k", b"one")
    assert not storage.create("k", b"two")
    assert storage.read_bytes("k") == b"one"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]
