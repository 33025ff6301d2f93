"""A transfer set on S3, and a node that many processes share: pulled once, mapped by all, kept while mapped."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.services.proxy import FaultProxy
from tests.helpers.transfer_sets import FINGERPRINT, synthetic
from trainables.artifacts import read_record
from trainables.errors import MachineError
from trainables.node_cache import LIMIT
from trainables.storage import Storage
from trainables.transfer_set import TransferSet, materialise, prefix, shard_name
from trainables.transfer_set.decoding import decode, decoded_size

PULLED: dict[int, tuple[int, int, int]] = {}
"""By the number of processes: requests, bytes of shards and bytes in all."""


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    folder = tmp_path_factory.mktemp("local")
    synthetic(folder, n=400, mel_bands=40, attention=True, frames=True, segments=True, votes=True)
    return Storage(str(folder / "store"))


@pytest.fixture(scope="module")
def remote(local: Storage, proxy: FaultProxy) -> Storage:
    storage, folder = Storage("s3://bucket/root"), local.local
    assert folder is not None
    for info in local.list():
        storage.upload(folder / info.key, info.key)
    return storage


def reader(storage: str, cache: Path, environment: dict[str, str], signals: tuple[Any, Any, Any]) -> None:
    """A trial's process: waits for the start, maps the set, tells what it reads, holds it until it is over."""
    start, told, over = signals
    os.environ.update(environment)
    start.wait()
    data = TransferSet.fetched(Storage(storage), FINGERPRINT, cache)
    told.put((len(data), float(np.asarray(data.teachers["fusion"].logits).sum())))
    over.wait()


@pytest.mark.parametrize("processes", [1, 4, 16])
def test_of_many_processes_one_pulls_it(
    remote: Storage, local: Storage, proxy: FaultProxy, tmp_path: Path, processes: int
) -> None:
    """As many requests and bytes for sixteen as for one, and every process reads the same."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    start, told, over = context.Event(), context.Queue(), context.Event()
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    given = (remote.root, tmp_path / "cache", environment, (start, told, over))
    running = [context.Process(target=reader, args=given, daemon=True) for _ in range(processes)]
    for process in running:
        process.start()
    proxy.reset()
    start.set()
    try:
        found = {told.get(timeout=240) for _ in running}
    finally:
        over.set()
    for process in running:
        process.join(60)
    expected = TransferSet.fetched(local, FINGERPRINT, tmp_path / "other")
    assert found == {(400, float(np.asarray(expected.teachers["fusion"].logits).sum()))}
    gets = [request for request in proxy.requests if request.method == "GET"]
    shards = [request for request in gets if "shard-" in request.path]
    record = read_record(local, prefix(FINGERPRINT))
    assert record is not None
    stored = sum(file.size for name, file in record.files.items() if name.startswith("shard-"))
    assert len(shards) == 3 and sum(request.received for request in shards) == stored
    PULLED[processes] = (len(proxy.requests), stored, sum(request.received for request in proxy.requests))
    print(f"\n{processes} processes: requests, bytes of shards, bytes in all: {PULLED[processes]}")
    assert len(set(PULLED.values())) == 1


def test_nobody_asks_the_store_once_it_is_there(remote: Storage, proxy: FaultProxy, tmp_path: Path) -> None:
    materialise(remote, FINGERPRINT, tmp_path)
    proxy.reset()
    assert len(TransferSet.fetched(remote, FINGERPRINT, tmp_path)) == 400
    assert proxy.requests == []


def test_what_is_mapped_is_kept_until_nothing_refers_to_it(
    local: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = read_record(local, prefix(FINGERPRINT))
    assert record is not None
    monkeypatch.setenv(LIMIT, str(1.5e-9 * decoded_size(record)))
    store = Storage(str(tmp_path / "store"))
    other = "fedcba9876543210"
    folder = local.local
    assert folder is not None
    for info in local.list(prefix(FINGERPRINT)):
        store.upload(folder / info.key, info.key.replace(FINGERPRINT, other))
    text = store.read_text(f"{prefix(other)}/record.json").replace(FINGERPRINT, other)
    store.write_text(f"{prefix(other)}/record.json", text.replace(record.checksum, ""))
    data = TransferSet.fetched(local, FINGERPRINT, tmp_path / "cache")
    with pytest.raises(MachineError, match=f"transfer set {other} needs .* are left beside the"):
        TransferSet.fetched(store, other, tmp_path / "cache")
    assert (tmp_path / "cache" / FINGERPRINT).is_dir() and len(data) == 400
    del data
    assert TransferSet.fetched(store, other, tmp_path / "cache").fingerprint == other
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [other]


def test_a_disk_that_is_full_is_an_error_and_not_the_end_of_the_process(local: Storage, tmp_path: Path) -> None:
    """A store into mapped memory would be a SIGBUS."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        record = read_record(local, prefix(FINGERPRINT))
        assert record is not None and decoded_size(record) > 400_000
        with pytest.raises(OSError) as caught:
            decode(local, record, folder)
        assert caught.value.errno == errno.ENOSPC
        with pytest.raises(MachineError, match=f"transfer set {FINGERPRINT} needs"):
            materialise(local, FINGERPRINT, folder / "cache")
        assert [path for path in (folder / "cache").iterdir() if path.is_dir()] == []
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_shards_that_are_pulled_are_gone_once_they_are_decoded(remote: Storage, tmp_path: Path) -> None:
    folder = materialise(remote, FINGERPRINT, tmp_path)
    assert not list(tmp_path.rglob(shard_name(0))) and not list(folder.glob("*.safetensors"))
